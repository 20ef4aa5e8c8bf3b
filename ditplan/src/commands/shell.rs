//! `completions` and `man`: what shells and manuals read.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_complete::Shell;
use traces::whole;

/// For which shell.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum)]
    pub shell: Shell,
}

/// Where the manual goes.
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Write ditplan.1 and a page for each command here, instead of printing ditplan.1
    #[arg(long, value_name = "FOLDER")]
    pub out: Option<PathBuf>,
}

/// What `completions` prints.
pub(crate) fn completions(typed: &CompletionsArguments, mut program: Command) -> String {
    let mut script = Vec::new();
    clap_complete::generate(typed.shell, &mut program, "ditplan", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

/// Writes the pages of a command and of all below it.
fn pages(command: &Command, folder: &Path) -> io::Result<()> {
    for below in command.get_subcommands() {
        pages(below, folder)?;
    }
    let page = clap_mangen::Man::new(command.clone());
    whole::write_with(&folder.join(page.get_filename()), |out| page.render(out))
}

/// What `man` prints; it also writes the pages.
pub(crate) fn man(typed: &ManArguments, program: Command) -> Result<String> {
    let Some(folder) = &typed.out else {
        let mut page = Vec::new();
        clap_mangen::Man::new(program).render(&mut page)?;
        return Ok(String::from_utf8_lossy(&page).into_owned());
    };
    let mut command = program.disable_help_subcommand(true);
    // Names of subcommands' pages are known after this.
    command.build();
    std::fs::create_dir_all(folder)
        .and_then(|()| pages(&command, folder))
        .with_context(|| format!("--out {} cannot be written", folder.display()))?;
    Ok(format!(
        "{}: man {}/ditplan.1\n",
        folder.display(),
        folder.display()
    ))
}
