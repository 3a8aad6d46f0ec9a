//! Manual pages and completions of a program, made from what it can be told.

use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

/// Print the manual page, or write one for each command, e.g. `man --dir man/man1`
#[derive(Debug, Args)]
pub struct Manual {
    /// Write a page for this program and for each of its commands there
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Print completions for a shell, e.g. `completions bash > /etc/bash_completion.d/NAME`
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Manual {
    /// Prints the page of a program, or writes all.
    ///
    /// # Errors
    /// The directory or standard output cannot be written.
    pub fn make(self, program: Command) -> io::Result<()> {
        let Some(dir) = self.dir else {
            let mut page = Vec::new();
            Man::new(program).render(&mut page)?;
            return io::stdout().write_all(&page);
        };
        fs::create_dir_all(&dir)?;
        clap_mangen::generate_to(program, &dir)
    }
}

impl Completions {
    /// Prints those of a program.
    ///
    /// # Errors
    /// Standard output cannot be written.
    pub fn make(self, mut program: Command) -> io::Result<()> {
        let (name, mut script) = (program.get_name().to_owned(), Vec::new());
        clap_complete::generate(self.shell, &mut program, name, &mut script);
        io::stdout().write_all(&script)
    }
}
