//! How a command ends: the same codes for every command of this program.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// What was asked is done.
    Done,
    /// The rules or the facts are against it.
    Refused,
    /// The command line cannot be read.
    Usage,
    /// Whoever runs it may not.
    Forbidden,
    /// Something that it needs cannot be reached.
    Unreachable,
    /// The appliance runs, and this needs it stopped.
    Running,
}

impl Exit {
    /// All of them, in order.
    pub const ALL: [Self; 6] =
        [Self::Done, Self::Refused, Self::Usage, Self::Forbidden, Self::Unreachable, Self::Running];

    /// The code.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Refused => 1,
            Self::Usage => 2,
            Self::Forbidden => 3,
            Self::Unreachable => 4,
            Self::Running => 5,
        }
    }

    /// What it means, in a sentence.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "Done; what was checked holds.",
            Self::Refused => {
                "Refused, or there is no such thing, or what was checked does not hold. It says why."
            }
            Self::Usage => {
                "The command line cannot be read, or something that cannot be undone was not confirmed."
            }
            Self::Forbidden => "Not known, or not allowed.",
            Self::Unreachable => "The appliance, a file or the database cannot be reached or read.",
            Self::Running => "The appliance runs, and this needs it stopped.",
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_table_is_this_one() {
        let page = include_str!("../../../docs/admin.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(page.contains(&row), "docs/admin.md has not: {row}");
        }
    }
}
