//! Where a command writes: answers on standard output, everything else on standard error.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use clap::ValueEnum;

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Color {
    /// On a terminal, unless NO_COLOR says otherwise.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl Color {
    /// Decides for one stream. `no_color` and `force` are the variables NO_COLOR and CLICOLOR_FORCE, set to
    /// something (no-color.org, bixense.com/clicolors).
    fn wanted(self, is_terminal: bool, no_color: bool, force: bool) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => !no_color && (force || is_terminal),
        }
    }
}

/// The two streams of a command.
pub struct Screen {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    color: bool,
    quiet: bool,
}

impl fmt::Debug for Screen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Screen")
            .field("color", &self.color)
            .field("quiet", &self.quiet)
            .finish_non_exhaustive()
    }
}

impl Screen {
    /// The streams of this process.
    pub fn standard(color: Color, quiet: bool) -> Self {
        let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let is_terminal = io::stderr().is_terminal();
        Self {
            out: Box::new(io::stdout()),
            err: Box::new(io::stderr()),
            color: color.wanted(is_terminal, is_set("NO_COLOR"), is_set("CLICOLOR_FORCE")),
            quiet,
        }
    }

    /// Streams of one's own, without colours: for tests.
    pub fn new(out: Box<dyn Write + Send>, err: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            err,
            color: false,
            quiet: false,
        }
    }

    /// Whether standard error may be coloured.
    pub fn has_color(&self) -> bool {
        self.color
    }

    /// Whether nothing is to be said beside the answer.
    pub fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Writes a line of the answer.
    ///
    /// # Errors
    /// When standard output cannot be written: whoever waits for the answer did not get it.
    pub fn answer(&mut self, line: &str) -> io::Result<()> {
        writeln!(self.out, "{line}")?;
        self.out.flush()
    }

    /// Tells something beside the answer; silent with `--quiet`.
    pub fn say(&mut self, line: &str) {
        if !self.quiet {
            self.note(line);
        }
    }

    /// Writes a line beside the answer that must not be missed, also with `--quiet`.
    pub fn note(&mut self, line: &str) {
        // Nobody is left to tell that standard error is closed.
        let _ = writeln!(self.err, "{line}");
    }

    /// Says why a command failed: the error and what is behind it, on one line.
    pub fn error(&mut self, error: &anyhow::Error) {
        let (red, plain) = if self.color {
            ("\x1b[1;31m", "\x1b[0m")
        } else {
            ("", "")
        };
        self.note(&format!("{red}error:{plain} {error:#}"));
    }
}

/// Text from elsewhere, safe to show: control characters, which could steer the terminal, become `�`.
pub fn plain(text: &str) -> String {
    let shown = |c: char| {
        if c.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            c
        }
    };
    text.chars().map(shown).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what was written.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A screen and its two streams.
    pub(crate) fn paper_screen() -> (Screen, Paper, Paper) {
        let (out, err) = (Paper::default(), Paper::default());
        let screen = Screen::new(Box::new(out.clone()), Box::new(err.clone()));
        (screen, out, err)
    }

    #[test]
    fn colours_follow_the_flag_then_the_environment_then_the_terminal() {
        for (color, is_terminal, no_color, force, wanted) in [
            (Color::Auto, true, false, false, true),
            (Color::Auto, false, false, false, false),
            (Color::Auto, true, true, false, false),
            (Color::Auto, false, false, true, true),
            (Color::Auto, true, true, true, false),
            (Color::Always, false, true, false, true),
            (Color::Never, true, false, true, false),
        ] {
            assert_eq!(
                color.wanted(is_terminal, no_color, force),
                wanted,
                "{color:?} {is_terminal} {no_color} {force}"
            );
        }
    }

    #[test]
    fn quiet_keeps_errors_and_answers() {
        let (mut screen, out, err) = paper_screen();
        screen.quiet = true;
        screen.answer("yes").unwrap();
        screen.say("by the way");
        screen.error(&anyhow::anyhow!("cause").context("what"));
        assert_eq!(out.text(), "yes\n");
        assert_eq!(err.text(), "error: what: cause\n");
    }

    #[test]
    fn text_from_elsewhere_cannot_steer_the_terminal() {
        assert_eq!(plain("a\x1b[2Jb\nc"), "a�[2Jb�c");
    }
}
