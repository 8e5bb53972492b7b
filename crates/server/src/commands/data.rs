//! Commands on the database: check, backup, restore, export, import, import from the Node.js server.

use super::{Outcome, progress::Bar, required};
use clap::{Arg, ArgMatches, Command, value_parser};
use noex_sqlite::{DataError, Findings, Moved, NodeImport, Report};
use std::ffi::OsString;
use std::path::Path;

/// Describes the commands.
pub(super) fn commands() -> [Command; 6] {
    [
        Command::new("check")
            .about("Checks every page and every record of a database, also while a server uses it")
            .arg(path("db", "FILE", "The database")),
        Command::new("backup")
            .about("Copies a database to a new file, also while a server uses it")
            .arg(path("db", "FILE", "The database"))
            .arg(path("to", "FILE", "The backup; must not exist")),
        Command::new("restore")
            .about("Makes a database of a backup")
            .arg(path("from", "FILE", "The backup"))
            .arg(path("db", "FILE", "The database; must not exist")),
        Command::new("export")
            .about("Writes a database as JSON lines, also while a server uses it")
            .arg(path("db", "FILE", "The database"))
            .arg(path("to", "DIR", "The folder; must not exist")),
        Command::new("import")
            .about("Makes a database of an export")
            .arg(path("from", "DIR", "The folder of the export"))
            .arg(path("db", "FILE", "The database; must not exist")),
        Command::new("import-node")
            .about(
                "Makes a database of the data of a Node.js server; its buckets sleep until they are defined",
            )
            .arg(path("from", "DIR|FILE", "The folder of its file persistence, or its SQLite file"))
            .arg(path("db", "FILE", "The database; must not exist"))
            .arg(Arg::new("store").long("store").value_name("NAME").help("The store, if there are several")),
    ]
}

fn path(name: &'static str, kind: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_name(kind).help(help).required(true).value_parser(value_parser!(OsString))
}

/// Runs a command by its name.
pub(super) fn run(name: &str, options: &ArgMatches) -> Outcome {
    let mut bar = Bar::new();
    let mut show = |progress| bar.show(progress);
    let report: Report<'_> = &mut show;
    let path = |name| Path::new(required(options, name));
    let done = match name {
        "check" => noex_sqlite::check(path("db"), report).map(found),
        "backup" => noex_sqlite::backup(path("db"), path("to"), report).map(|moved| said(moved, path("to"))),
        "restore" => {
            noex_sqlite::restore(path("from"), path("db"), report).map(|moved| said(moved, path("db")))
        }
        "export" => noex_sqlite::export(path("db"), path("to"), report).map(|moved| said(moved, path("to"))),
        "import" => {
            noex_sqlite::import(path("from"), path("db"), report).map(|moved| said(moved, path("db")))
        }
        "import-node" => {
            let store = options.get_one::<String>("store").map(String::as_str);
            let imported = noex_sqlite::import_node(path("from"), path("db"), store, report);
            imported.map(|NodeImport { moved, skipped }| {
                let skipped: String = skipped.iter().map(|what| format!("\nleft out: {what}")).collect();
                Ok(said(moved, path("db"))? + &skipped)
            })
        }
        name => Ok(Err(vec![format!("unknown command {name:?}")])),
    };
    drop(bar);
    done.unwrap_or_else(|error: DataError| Err(vec![error.to_string()]))
}

fn found(Findings { content, problems }: Findings) -> Outcome {
    if problems.is_empty() { Ok(format!("OK: {content}")) } else { Err(problems) }
}

fn said(moved: Moved, to: &Path) -> Outcome {
    Ok(format!("{}: {moved}", to.display()))
}
