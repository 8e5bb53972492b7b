//! The command line and the environment.
//!
//! Input: arguments without the program name, and a lookup of environment variables. Output: what was asked for, with
//! option values as they were written; [`load`](crate::load) judges them together with the config file.
//! Invariant: the value of an option never appears in an error text.
//! Source: the configuration description, "Command line".

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use lexopt::Arg;

use crate::secret::Secret;

/// What the command line asks for.
#[derive(Clone, Debug, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "one value per process")]
pub enum Action {
    /// Print [`HELP`] to stdout and stop.
    Help,
    /// Print [`version_text`](crate::version_text) to stdout and stop.
    Version,
    /// Load the configuration and go on.
    Run(Cli),
}

/// Options of the command line, completed by the environment. `None` and `false` = not given.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Cli {
    /// `--config`, `NOEX_CONFIG`.
    pub config: Option<PathBuf>,
    /// `--port`, `NOEX_PORT`.
    pub port: Option<String>,
    /// `--host`, `NOEX_HOST`.
    pub host: Option<String>,
    /// `--name`.
    pub name: Option<String>,
    /// `--path`.
    pub path: Option<String>,
    /// `--max-payload-bytes`.
    pub max_payload_bytes: Option<String>,
    /// `--persistence`.
    pub persistence: Option<String>,
    /// `--data-dir`.
    pub data_dir: Option<String>,
    /// `--db`.
    pub db: Option<String>,
    /// `--auth`.
    pub auth: bool,
    /// `--admin-secret`, `NOEX_ADMIN_SECRET`.
    pub admin_secret: Option<Secret>,
    /// `--admin-secret-file`; never together with `admin_secret`.
    pub admin_secret_file: Option<PathBuf>,
    /// `--no-rules`.
    pub no_rules: bool,
    /// `--audit`.
    pub audit: bool,
    /// `--no-error-details`.
    pub no_error_details: bool,
    /// `--allowed-origins`.
    pub allowed_origins: Option<String>,
    /// `--max-connections-per-ip`.
    pub max_connections_per_ip: Option<String>,
    /// `--log-level`.
    pub log_level: Option<String>,
    /// `--ready-line`.
    pub ready_line: bool,
    /// `--check`.
    pub check: bool,
    /// `--strict-config`.
    pub strict_config: bool,
}

/// A mistake on the command line. `Display` gives both lines that belong on stderr.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CliError(String);

impl CliError {
    /// Returns the text without `Error: ` and without the hint to `--help`.
    pub fn message(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CliError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error: {}\nRun \"noex-server --help\" for usage information.", self.0)
    }
}

impl std::error::Error for CliError {}

/// Parses `args`, which do not include the program name, and fills gaps from the environment.
///
/// `env` looks up one variable, normally `|name| std::env::var_os(name)`; an empty variable counts as not set. The first
/// `--help` or `--version` ends the parsing. Of a repeated option the last value counts.
pub fn parse_args<I>(args: I, env: &dyn Fn(&str) -> Option<OsString>) -> Result<Action, CliError>
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut parser = lexopt::Parser::from_args(args);
    let mut cli = Cli::default();
    while let Some(arg) = parser.next().map_err(unexpected_value)? {
        let flag = match arg {
            Arg::Short(letter) => long_name(letter).ok_or_else(|| unknown(&format!("-{letter}")))?.to_owned(),
            Arg::Long(name) => name.to_owned(),
            Arg::Value(value) => return Err(positional(&cli, value)),
        };
        match flag.as_str() {
            "help" => return Ok(Action::Help),
            "version" => return Ok(Action::Version),
            name => apply(&mut cli, name, &mut parser)?,
        }
    }
    if cli.admin_secret.is_some() && cli.admin_secret_file.is_some() {
        return Err(CliError("Options --admin-secret and --admin-secret-file exclude each other".to_owned()));
    }
    apply_environment(&mut cli, env)?;
    Ok(Action::Run(cli))
}

/// Stores one option.
fn apply(cli: &mut Cli, flag: &str, parser: &mut lexopt::Parser) -> Result<(), CliError> {
    match flag {
        "config" => cli.config = Some(value(parser, flag)?.into()),
        "port" => cli.port = Some(text(parser, flag)?),
        "host" => cli.host = Some(text(parser, flag)?),
        "name" => cli.name = Some(text(parser, flag)?),
        "path" => cli.path = Some(text(parser, flag)?),
        "max-payload-bytes" => cli.max_payload_bytes = Some(text(parser, flag)?),
        "persistence" => cli.persistence = Some(text(parser, flag)?),
        "data-dir" => cli.data_dir = Some(text(parser, flag)?),
        "db" => cli.db = Some(text(parser, flag)?),
        "auth" => cli.auth = true,
        "admin-secret" => cli.admin_secret = Some(Secret::new(text(parser, flag)?)),
        "admin-secret-file" => cli.admin_secret_file = Some(value(parser, flag)?.into()),
        "no-rules" => cli.no_rules = true,
        "audit" => cli.audit = true,
        "no-error-details" => cli.no_error_details = true,
        "allowed-origins" => cli.allowed_origins = Some(text(parser, flag)?),
        "max-connections-per-ip" => cli.max_connections_per_ip = Some(text(parser, flag)?),
        "log-level" => cli.log_level = Some(text(parser, flag)?),
        "ready-line" => cli.ready_line = true,
        "check" => cli.check = true,
        "strict-config" => cli.strict_config = true,
        _ => return Err(unknown(&format!("--{flag}"))),
    }
    Ok(())
}

/// Takes from the environment what no option has set.
fn apply_environment(cli: &mut Cli, env: &dyn Fn(&str) -> Option<OsString>) -> Result<(), CliError> {
    let lookup = |name: &str| env(name).filter(|value| !value.is_empty());
    let lookup_text = |name: &str| match lookup(name).map(OsString::into_string) {
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(CliError(format!("Environment variable {name} is not valid UTF-8"))),
        None => Ok(None),
    };
    if cli.config.is_none() {
        cli.config = lookup("NOEX_CONFIG").map(PathBuf::from);
    }
    if cli.port.is_none() {
        cli.port = lookup_text("NOEX_PORT")?;
    }
    if cli.host.is_none() {
        cli.host = lookup_text("NOEX_HOST")?;
    }
    if cli.admin_secret.is_none() && cli.admin_secret_file.is_none() {
        cli.admin_secret = lookup_text("NOEX_ADMIN_SECRET")?.map(Secret::new);
    }
    Ok(())
}

/// Returns the long form of a one-letter option.
const fn long_name(letter: char) -> Option<&'static str> {
    match letter {
        'p' => Some("port"),
        'H' => Some("host"),
        'c' => Some("config"),
        'h' => Some("help"),
        'v' => Some("version"),
        _ => None,
    }
}

/// Takes the value of `--flag`, from `--flag=value` or from the next argument.
///
/// A next argument that looks like an option is not taken: `--admin-secret --audit` lacks a value. `=` allows any.
fn value(parser: &mut lexopt::Parser, flag: &str) -> Result<OsString, CliError> {
    if let Some(value) = parser.optional_value() {
        return Ok(value);
    }
    match parser.value() {
        Ok(value) if value == "-" || !value.as_encoded_bytes().starts_with(b"-") => Ok(value),
        Ok(_) | Err(_) => Err(CliError(format!("Option --{flag} needs a value"))),
    }
}

fn text(parser: &mut lexopt::Parser, flag: &str) -> Result<String, CliError> {
    let value = value(parser, flag)?;
    value.into_string().map_err(|_| CliError(format!("The value of option --{flag} is not valid UTF-8")))
}

fn unknown(option: &str) -> CliError {
    CliError(format!("Unknown option {option:?}"))
}

/// A value was attached to an option that takes none, the only error of `Parser::next`.
fn unexpected_value(error: lexopt::Error) -> CliError {
    if let lexopt::Error::UnexpectedValue { option, .. } = error {
        return CliError(format!("Option {option} takes no value"));
    }
    CliError("Malformed option".to_owned())
}

/// An argument that belongs to no option: perhaps the second word of a secret without quotes.
fn positional(cli: &Cli, value: OsString) -> CliError {
    if cli.admin_secret.is_some() {
        return CliError("Unexpected argument after --admin-secret".to_owned());
    }
    CliError(format!("Unexpected argument {value:?}"))
}

/// Text of `--help`.
pub const HELP: &str = "\
noex-server - realtime data server, JSON over WebSocket

USAGE:
  noex-server [OPTIONS]
  noex-server <COMMAND> --help

COMMANDS:
  check, backup, restore              Look after the database, also while the server runs
  export, import, import-node         Move data to and from JSON lines; take over data of the Node.js server
  user                                Create users and set passwords while the server is stopped

OPTIONS:
  -p, --port <number>                 Port, 0 for any free one (default: 8080)
  -H, --host <address>                Address to listen on (default: 0.0.0.0)
      --path <path>                   Path of the WebSocket endpoint (default: /)
  -c, --config <path>                 JSON config file
      --strict-config                 Treat unknown keys of the config file as errors
      --check                         Validate the configuration, print OK and exit
      --name <string>                 Name of this server (default: noex-server)

  DATA:
      --persistence <type>            memory, file or sqlite (default: memory)
      --data-dir <path>               Folder for file persistence (default: ./data)
      --db <path>                     Database for sqlite persistence (default: ./noex.db)

  AUTHENTICATION:
      --auth                          Turn on the built-in identity management
      --admin-secret <string>         Secret of the administrator, required with --auth
      --admin-secret-file <path>      File with that secret

  LIMITS:
      --allowed-origins <list>        Accepted Origin headers, separated by commas (default: any)
      --max-connections-per-ip <n>    Connections per client address (default: unlimited)
      --max-payload-bytes <number>    Longest message of a client (default: 1048576)

  FEATURES:
      --no-rules                      Turn off the rule engine
      --audit                         Turn on the audit log
      --no-error-details              Leave the details out of error answers

  OUTPUT:
      --log-level <level>             error, warn, info or debug (default: info)
      --ready-line                    Print \"READY <port>\" on stdout when connections are accepted

  -h, --help                          Print this text
  -v, --version                       Print the version

ENVIRONMENT:
  NOEX_CONFIG, NOEX_PORT, NOEX_HOST, NOEX_ADMIN_SECRET

Options override the environment, which overrides the config file.
";
