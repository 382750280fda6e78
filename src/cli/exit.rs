//! How a command ends: the exit codes that scripts rely on, and an error that carries one.

use std::process::ExitCode;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or the answer is yes.
    Yes,
    /// 1: the check said no: a broken chain, findings.
    No,
    /// 2: the command line makes no sense.
    Usage,
    /// 3: the policy file is not valid.
    Policy,
    /// 4: a file, the database or the network does not play along.
    Environment,
    /// Another number, which the command's own help explains.
    Verdict(u8),
    /// 130: interrupted from the terminal.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
    pub fn code(self) -> u8 {
        match self {
            Self::Yes => 0,
            Self::No => 1,
            Self::Usage => 2,
            Self::Policy => 3,
            Self::Environment => 4,
            Self::Verdict(code) => code,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command could not do its work, and how it ends therefore.
#[derive(Debug)]
pub struct Failure {
    /// How the process ends.
    pub exit: Exit,
    /// What happened, for the person at the terminal.
    pub error: anyhow::Error,
}

impl Failure {
    /// A command line that clap accepts and that still makes no sense.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    /// A policy file that is not valid.
    pub fn policy(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Policy,
            error: error.into(),
        }
    }
}

/// Everything else that fails is the environment's doing.
impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            exit: Exit::Environment,
            error: error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_the_manual() {
        let all = [
            Exit::Yes,
            Exit::No,
            Exit::Usage,
            Exit::Policy,
            Exit::Environment,
            Exit::Interrupted,
        ];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 130]);
    }

    #[test]
    fn an_error_without_a_code_is_the_environments() {
        let failure = Failure::from(std::io::Error::other("disk"));
        assert_eq!(failure.exit, Exit::Environment);
        assert_eq!(Failure::usage(anyhow::anyhow!("no")).exit, Exit::Usage);
    }
}
