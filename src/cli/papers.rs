//! `hayward completions` and `hayward man`: what shells and manuals know of the command line, made from itself.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Arguments, Exit, Failure, Screen};

/// Flags of `hayward completions`.
#[derive(Debug, Clone, Args)]
pub struct CompletionsArguments {
    /// For which shell
    #[arg(value_enum, value_name = "SHELL")]
    pub shell: Shell,
}

/// Flags of `hayward man`.
#[derive(Debug, Clone, Args)]
pub struct ManArguments {
    /// Write one file for each command into this folder, instead of one text on standard output
    #[arg(long, value_name = "DIR", env = "HAYWARD_OUT")]
    pub out: Option<PathBuf>,
}

/// Prints the script that completes command lines.
pub(super) fn completions(
    arguments: &CompletionsArguments,
    screen: &mut Screen,
) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    let mut command = Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "hayward", &mut script);
    screen.answer(String::from_utf8_lossy(&script).trim_end())?;
    Ok(Exit::Yes)
}

/// Prints or writes the pages of the manual: one for the program, one for each command.
pub(super) fn man(arguments: &ManArguments, screen: &mut Screen) -> Result<Exit, Failure> {
    let pages = pages()?;
    let Some(folder) = &arguments.out else {
        for (_, page) in pages {
            screen.answer(page.trim_end())?;
        }
        return Ok(Exit::Yes);
    };
    let cannot = || format!("cannot write the manual to `{}`", folder.display());
    std::fs::create_dir_all(folder).with_context(cannot)?;
    for (name, page) in pages {
        std::fs::write(folder.join(format!("{name}.1")), page).with_context(cannot)?;
    }
    Ok(Exit::Yes)
}

/// The pages by name, the program's own first.
fn pages() -> std::io::Result<Vec<(String, String)>> {
    let mut pages = Vec::new();
    let mut root = Arguments::command().disable_help_subcommand(true);
    // Gives each command the name its page has, such as `hayward-token-new`.
    root.build();
    collect(&root, &mut pages)?;
    Ok(pages)
}

fn collect(command: &Command, pages: &mut Vec<(String, String)>) -> std::io::Result<()> {
    let mut page = Vec::new();
    Man::new(command.clone()).render(&mut page)?;
    let name = command.get_display_name().unwrap_or(command.get_name());
    let page = String::from_utf8_lossy(&page).into_owned();
    pages.push((name.to_owned(), page));
    let shown = |inner: &&Command| !inner.is_hide_set();
    for inner in command.get_subcommands().filter(shown) {
        collect(inner, pages)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    use super::*;
    use crate::cli::screen::tests::paper_screen;

    /// The names of all commands that people are shown, as they are typed.
    fn commands(command: &Command, before: &str, all: &mut Vec<String>) {
        for inner in command
            .get_subcommands()
            .filter(|inner| !inner.is_hide_set())
        {
            let name = format!("{before}{}", inner.get_name());
            commands(inner, &format!("{name}-"), all);
            all.push(name);
        }
    }

    #[test]
    fn every_shell_knows_every_command() {
        let mut all = Vec::new();
        commands(&Arguments::command(), "", &mut all);
        for shell in Shell::value_variants() {
            let (mut screen, out, _) = paper_screen();
            completions(&CompletionsArguments { shell: *shell }, &mut screen).unwrap();
            for name in &all {
                let last = name.rsplit('-').next().unwrap();
                assert!(out.text().contains(last), "{shell}: {name}");
            }
        }
    }

    #[test]
    fn every_command_has_its_page() {
        let mut all = Vec::new();
        commands(&Arguments::command(), "hayward-", &mut all);
        let folder = tempfile::tempdir().unwrap();
        let out = Some(folder.path().join("man1"));
        let (mut screen, ..) = paper_screen();
        man(&ManArguments { out }, &mut screen).unwrap();
        assert!(all.len() > 15, "{all:?}");
        all.push("hayward".into());
        for name in all {
            let page = std::fs::read_to_string(folder.path().join(format!("man1/{name}.1")));
            let page = page.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert!(page.contains(".SH SYNOPSIS"), "{name}: {page}");
        }
        let (mut screen, out, _) = paper_screen();
        man(&ManArguments { out: None }, &mut screen).unwrap();
        assert_eq!(out.text().matches("\n.TH ").count(), pages().unwrap().len());
    }
}
