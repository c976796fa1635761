//! What is wrong in a form that comes back.

use crate::error::FieldError;
use serde::{Serialize, Serializer};

/// What is wrong in a form, by field, in the order in which it was found.
#[derive(Default)]
pub struct Wrong(Vec<(String, String)>);

impl Wrong {
    /// Of each field the first word.
    pub fn of(errors: &[FieldError]) -> Self {
        let mut wrong: Vec<(String, String)> = Vec::with_capacity(errors.len());
        for error in errors {
            let field = top(&error.field);
            if !wrong.iter().any(|(known, _)| known == field) {
                wrong.push((field.to_owned(), error.message.clone()));
            }
        }
        Self(wrong)
    }

    /// One thing that is wrong.
    pub fn one(field: &str, message: &str) -> Self {
        Self(vec![(field.to_owned(), message.to_owned())])
    }
}

impl Serialize for Wrong {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(field, message)| (field, message)))
    }
}

/// The field of a form that `subnets[0]` or `timing.rate` lies in.
fn top(field: &str) -> &str {
    field.split(['[', '.']).next().unwrap_or(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_field_is_named_once_in_the_order_of_the_form() {
        let error = |field: &str, message: &str| FieldError { field: field.into(), message: message.into() };
        let errors =
            [error("name", "a"), error("subnets[3]", "b"), error("cidr", "c"), error("subnets", "d")];
        let text = serde_json::to_string(&Wrong::of(&errors)).unwrap();
        assert_eq!(text, r#"{"name":"a","subnets":"b","cidr":"c"}"#);
        let page = minijinja::Environment::new().render_str(
            "{% for field, message in e|items %}{{ field }}={{ message }} {% endfor %}",
            minijinja::context! {
                e => minijinja::value::Value::from(minijinja::value::Serde(&Wrong::of(&errors)))
            },
        );
        assert_eq!(page.unwrap(), "name=a subnets=b cidr=c ", "a template keeps the order");
    }
}
