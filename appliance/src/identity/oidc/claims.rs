//! What a provider says of a person, read: never more than it says.

use serde_json::{Map, Value};

/// A person as a provider tells of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Who it is there, for ever.
    pub subject: String,
    /// The e-mail address, if the provider has verified it.
    pub email: Option<String>,
    /// A sign-in name to begin with.
    pub name: String,
    /// The name to show.
    pub display: String,
    /// The values of the claim that gives roles.
    pub groups: Vec<String>,
}

impl Person {
    /// From the claims; `claim` is the name of the one that gives roles. None without a subject.
    #[must_use]
    pub fn read(claims: &Map<String, Value>, claim: &str) -> Option<Self> {
        let text = |name: &str| {
            let value = claims.get(name).and_then(Value::as_str).unwrap_or_default();
            value
                .chars()
                .filter(|letter| !letter.is_control())
                .take(254)
                .collect::<String>()
                .trim()
                .to_owned()
        };
        let subject =
            claims.get("sub")?.as_str().filter(|subject| !subject.is_empty() && subject.len() <= 255)?;
        let email = text("email");
        let verified = claims.get("email_verified") == Some(&Value::Bool(true));
        let first = [text("preferred_username"), email.clone(), subject.to_owned()];
        let fits = |letter: &char| letter.is_ascii_alphanumeric() || "._-@".contains(*letter);
        let plain = |text: &String| text.chars().filter(fits).take(60).collect::<String>();
        let name = first.iter().map(plain).find(|name| !name.is_empty()).unwrap_or_else(|| "user".to_owned());
        let display: String = text("name").chars().take(100).collect();
        let groups = match claims.get(claim) {
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(many)) => {
                many.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
            }
            _ => vec![],
        };
        Some(Self {
            subject: subject.to_owned(),
            email: (verified && email.contains('@')).then_some(email),
            display: if display.is_empty() { name.clone() } else { display },
            name,
            groups,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(claims: Value) -> Option<Person> {
        Person::read(claims.as_object().unwrap(), "groups")
    }

    #[test]
    fn an_address_counts_only_when_the_provider_has_verified_it() {
        let email = |verified: Value| {
            read(json!({ "sub": "1", "email": "ada@plant.test", "email_verified": verified })).unwrap().email
        };
        assert_eq!(email(json!(true)).as_deref(), Some("ada@plant.test"));
        for other in [json!(false), json!("true"), json!(1), Value::Null] {
            assert_eq!(email(other), None);
        }
        assert_eq!(read(json!({ "sub": "1", "email": "ada@plant.test" })).unwrap().email, None);
    }

    #[test]
    fn a_name_is_made_of_what_names_are_made_of() {
        let name = |claims: Value| read(claims).unwrap().name;
        assert_eq!(name(json!({ "sub": "1", "preferred_username": "ada l<ove>" })), "adalove");
        assert_eq!(name(json!({ "sub": "1", "email": "ada@x.test" })), "ada@x.test");
        assert_eq!(name(json!({ "sub": "Ж" })), "user");
    }

    #[test]
    fn groups_are_one_text_or_a_list_of_texts() {
        let groups = |value: Value| read(json!({ "sub": "1", "groups": value })).unwrap().groups;
        assert_eq!(groups(json!("admins")), ["admins"]);
        assert_eq!(groups(json!(["a", 7, "b"])), ["a", "b"]);
        assert_eq!(groups(json!({ "a": "b" })), Vec::<String>::new());
    }

    #[test]
    fn without_a_subject_it_is_nobody() {
        for sub in [json!(null), json!(""), json!(7), json!("x".repeat(256))] {
            assert_eq!(read(json!({ "sub": sub })), None);
        }
    }
}
