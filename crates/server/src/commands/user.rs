//! Commands on the accounts of a server that is stopped: the first administrator, and forgotten passwords.

use super::{Outcome, required};
use crate::runtime::{OfflineAccounts, Persistence, accounts::Settings, core::NewUser, store::Journal};
use crate::{options::accounts_settings, storage::FILE_NAME};
use clap::{Arg, ArgGroup, ArgMatches, Command, value_parser};
use noex_config::{AuthConfig, Cli, LoadError, Secret, load};
use noex_sqlite::{Options, SqliteJournal};
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Name of the command.
pub(super) const NAME: &str = "user";

/// Bytes that are read in search of a password. The identity has its own limit below this one.
const PASSWORD_BYTES_MAX: u64 = 64 * 1024;

/// Describes the commands.
pub(super) fn command() -> Command {
    let create = Command::new("create")
        .about("Creates a user, and the database if it is missing")
        .arg(username())
        .arg(password_file())
        .arg(config())
        .arg(
            Arg::new("role")
                .long("role")
                .value_name("NAME")
                .default_value("admin")
                .help("A role that exists"),
        );
    let reset = Command::new("reset-password")
        .about("Sets the password of a user; his sessions end")
        .arg(username())
        .arg(password_file())
        .arg(config());
    let list = Command::new("list").about("Lists the users: name, roles, state");
    Command::new(NAME)
        .about("Looks after the accounts of a server that is stopped")
        .after_help(
            "A password is asked for on a terminal, or is the first line of standard input or of --password-file.",
        )
        .subcommand_required(true)
        .disable_help_subcommand(true)
        .subcommands([create, reset, list].map(with_place))
}

fn with_place(command: Command) -> Command {
    let path = |name: &'static str, kind: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(kind).help(help).value_parser(value_parser!(OsString))
    };
    command
        .arg(path("db", "FILE", "The database"))
        .arg(path("data-dir", "DIR", "The folder that has it"))
        .group(ArgGroup::new("place").args(["db", "data-dir"]).required(true))
}

fn username() -> Arg {
    Arg::new("username").long("username").value_name("NAME").required(true).help("Name of the user")
}

fn password_file() -> Arg {
    let help = "A file whose first line is the password";
    Arg::new("password-file")
        .long("password-file")
        .value_name("FILE")
        .help(help)
        .value_parser(value_parser!(OsString))
}

fn config() -> Arg {
    let help = "The server's config file, for what it demands of a password; without it that is 8 characters";
    Arg::new("config").long("config").value_name("FILE").help(help).value_parser(value_parser!(OsString))
}

/// Runs the command.
pub(super) fn run(options: &ArgMatches) -> Outcome {
    match options.subcommand() {
        Some(("create", options)) => create(options),
        Some(("reset-password", options)) => reset_password(options),
        Some(("list", options)) => list(options),
        other => Err(one(format!("unknown command {other:?}"))),
    }
}

fn one(problem: String) -> Vec<String> {
    vec![problem]
}

fn create(options: &ArgMatches) -> Outcome {
    let (name, role) = (text(options, "username"), text(options, "role"));
    let settings = settings(options)?;
    let password = password(options).map_err(one)?;
    let user = NewUser {
        username: name.to_owned(),
        password,
        display_name: None,
        email: None,
        enabled: None,
        metadata: None,
    };
    if let Some(dir) = options.get_one::<OsString>("data-dir").map(Path::new) {
        fs::create_dir_all(dir).map_err(|error| one(format!("{}: {error}", dir.display())))?;
    }
    let created = with_accounts(options, settings, |accounts, now_ms| {
        accounts.create_user(now_ms, user, role).map_err(|refusal| refusal.message.into_owned())?;
        Ok(format!("User \"{name}\" created with role \"{role}\""))
    });
    created.map_err(one)
}

fn reset_password(options: &ArgMatches) -> Outcome {
    let name = text(options, "username");
    must_exist(options).map_err(one)?;
    let settings = settings(options)?;
    let password = password(options).map_err(one)?;
    let reset = with_accounts(options, settings, |accounts, now_ms| {
        accounts.reset_password(now_ms, name, &password).map_err(|refusal| refusal.message.into_owned())?;
        Ok(format!("Password of user \"{name}\" set; sessions ended"))
    });
    reset.map_err(one)
}

fn list(options: &ArgMatches) -> Outcome {
    must_exist(options).map_err(one)?;
    let listed = with_accounts(options, Settings::new(""), |accounts, _| {
        let lines = accounts.users().into_iter().map(|user| {
            let state = if user.enabled { "enabled" } else { "disabled" };
            let roles = if user.roles.is_empty() { "-".to_owned() } else { user.roles.join(",") };
            format!("{}\t{roles}\t{state}", user.username)
        });
        let lines: Vec<String> = lines.collect();
        Ok(if lines.is_empty() { "No users".to_owned() } else { lines.join("\n") })
    });
    listed.map_err(one)
}

/// What the server demands of accounts: as its config file says, else the defaults.
fn settings(options: &ArgMatches) -> Result<Settings, Vec<String>> {
    // Nobody logs in here, so there is no secret to know. Accounts may be switched on by the server's command line.
    let unused = "the secret of nobody";
    let Some(path) = options.get_one::<OsString>("config") else { return Ok(Settings::new(unused)) };
    let secret = Some(Secret::new(unused));
    let cli = Cli { config: Some(path.into()), auth: true, admin_secret: secret, ..Cli::default() };
    let loaded = load(&cli).map_err(|error| match error {
        LoadError::File(text) => one(text),
        LoadError::Invalid { problems, .. } => problems,
    })?;
    match &loaded.config.auth {
        AuthConfig::BuiltIn(auth) => Ok(accounts_settings(auth)),
        AuthConfig::None | AuthConfig::Token(_) => {
            Err(one(format!("{}: the server has no built-in accounts", Path::new(path).display())))
        }
    }
}

fn text<'m>(options: &'m ArgMatches, name: &str) -> &'m str {
    options.get_one::<String>(name).map(String::as_str).unwrap_or_default()
}

/// The database that the options name.
fn place(options: &ArgMatches) -> PathBuf {
    match options.get_one::<OsString>("data-dir") {
        Some(dir) => Path::new(dir).join(FILE_NAME),
        None => PathBuf::from(required(options, "db")),
    }
}

/// Only the creation of a user may make a database.
fn must_exist(options: &ArgMatches) -> Result<(), String> {
    let path = place(options);
    let found = path.try_exists().map_err(|error| format!("{}: {error}", path.display()))?;
    if found { Ok(()) } else { Err(format!("{}: there is no such file", path.display())) }
}

/// Owns the database while something is done.
fn with_accounts<T>(
    options: &ArgMatches,
    settings: Settings,
    work: impl FnOnce(&OfflineAccounts, u64) -> Result<T, String>,
) -> Result<T, String> {
    let path = place(options);
    let (journal, image) =
        noex_sqlite::open(&path, &Options::default()).map_err(|error| error.to_string())?;
    let journal = Arc::new(journal);
    let persistence = Persistence::new(Arc::clone(&journal) as Arc<dyn Journal>, Box::new(image));
    let done = work_on(&path, &persistence, settings, work);
    let closed = close(&journal).map_err(|error| format!("{}: {error}", path.display()));
    done.and_then(|done| closed.map(|()| done))
}

fn work_on<T>(
    path: &Path,
    persistence: &Persistence,
    settings: Settings,
    work: impl FnOnce(&OfflineAccounts, u64) -> Result<T, String>,
) -> Result<T, String> {
    let now_ms = now_ms()?;
    let accounts = OfflineAccounts::open(persistence, settings, now_ms)
        .map_err(|error| format!("{}: {error}", path.display()))?;
    work(&accounts, now_ms)
}

fn close(journal: &SqliteJournal) -> Result<(), String> {
    journal.close().map_err(|error| format!("cannot close the database: {error}"))
}

#[expect(clippy::disallowed_methods, reason = "the clock of a command is here")]
fn now_ms() -> Result<u64, String> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).ok();
    let now_ms = since.and_then(|since| u64::try_from(since.as_millis()).ok());
    now_ms.ok_or_else(|| "the clock shows a time before 1970".to_owned())
}

/// Reads a password: of a file, from a terminal without showing it, or from standard input.
fn password(options: &ArgMatches) -> Result<String, String> {
    if let Some(path) = options.get_one::<OsString>("password-file").map(Path::new) {
        let read = File::open(path).and_then(|mut file| first_line(&mut file));
        return read.map_err(|error| format!("{}: {error}", path.display()));
    }
    if !io::stdin().is_terminal() {
        return first_line(&mut io::stdin().lock()).map_err(|error| format!("standard input: {error}"));
    }
    let ask = |prompt| rpassword::prompt_password(prompt).map_err(|error| format!("terminal: {error}"));
    let password = ask("Password: ")?;
    if ask("Once more: ")? == password { Ok(password) } else { Err("the passwords differ".to_owned()) }
}

/// Gives the first line without its end.
fn first_line(from: &mut dyn Read) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.take(PASSWORD_BYTES_MAX).read_to_end(&mut bytes)?;
    let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let wrong = |_| io::Error::new(io::ErrorKind::InvalidData, "the password is not UTF-8");
    String::from_utf8(line.to_vec()).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn password_is_the_first_line() {
        for (bytes, line) in [
            (&b"a b\n"[..], "a b"),
            (b"a b\r\nc", "a b"),
            (b" a", " a"),
            (b"", ""),
            (b"\n", ""),
            (b"a\rb\n", "a\rb"),
        ] {
            assert_eq!(first_line(&mut &*bytes).expect("text"), line);
        }
        assert!(first_line(&mut &b"\xff\n"[..]).is_err());
    }
}
