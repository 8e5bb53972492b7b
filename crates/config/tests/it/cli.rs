//! Command line, environment, precedence, files.

use std::ffi::OsString;
use std::path::PathBuf;

use noex_config::{
    Action, AuthConfig, Cli, HELP, LoadError, LogLevel, Persistence, RulesConfig, Secret, load, parse,
    parse_args, version_text,
};

use crate::{cli, problems_with};

fn error(args: &[&str]) -> String {
    parse_args(args.iter().copied(), &|_| None).unwrap_err().to_string()
}

fn with_env(args: &[&str], env: &[(&str, &str)]) -> Cli {
    let lookup = |name: &str| env.iter().find(|(n, _)| *n == name).map(|(_, value)| OsString::from(value));
    match parse_args(args.iter().copied(), &lookup).unwrap() {
        Action::Run(cli) => cli,
        other @ (Action::Help | Action::Version) => panic!("{other:?}"),
    }
}

#[test]
fn every_option_is_understood() {
    let given = cli(&[
        "-p",
        "1",
        "-H",
        "h",
        "-c",
        "c.json",
        "--name",
        "n",
        "--persistence",
        "file",
        "--data-dir",
        "d",
        "--db",
        "b",
        "--auth",
        "--admin-secret",
        "s",
        "--no-rules",
        "--audit",
        "--no-error-details",
        "--allowed-origins",
        "o",
        "--max-connections-per-ip",
        "2",
        "--path",
        "/p",
        "--max-payload-bytes",
        "3",
        "--ready-line",
        "--check",
        "--strict-config",
        "--log-level",
        "debug",
    ]);
    let text = |text: &str| Some(text.to_owned());
    let expected = Cli {
        config: Some(PathBuf::from("c.json")),
        port: text("1"),
        host: text("h"),
        name: text("n"),
        path: text("/p"),
        max_payload_bytes: text("3"),
        persistence: text("file"),
        data_dir: text("d"),
        db: text("b"),
        auth: true,
        admin_secret: Some(Secret::new("s")),
        admin_secret_file: None,
        no_rules: true,
        audit: true,
        no_error_details: true,
        allowed_origins: text("o"),
        max_connections_per_ip: text("2"),
        log_level: text("debug"),
        ready_line: true,
        check: true,
        strict_config: true,
    };
    assert_eq!(given, expected);
    assert_eq!(cli(&["--port=1", "--host=h", "-cc.json"]), cli(&["-p1", "-Hh", "--config", "c.json"]));
    assert_eq!(cli(&["--port", "1", "--port", "2"]).port, text("2"));
    assert_eq!(cli(&["--admin-secret-file", "f"]).admin_secret_file, Some(PathBuf::from("f")));
    assert_eq!(cli(&[]), Cli::default());
}

#[test]
fn help_and_version_are_actions() {
    for (args, expected) in [
        (["-h"].as_slice(), Action::Help),
        (&["--help"], Action::Help),
        (&["--port", "1", "--help", "--bogus"], Action::Help),
        (&["-v"], Action::Version),
        (&["--version"], Action::Version),
    ] {
        assert_eq!(parse_args(args.iter().copied(), &|_| None), Ok(expected), "{args:?}");
    }
    assert_eq!(version_text(), format!("noex-server v{}", env!("CARGO_PKG_VERSION")));
    for flag in [
        "--port",
        "--host",
        "--config",
        "--name",
        "--persistence",
        "--data-dir",
        "--db",
        "--auth",
        "--admin-secret",
        "--no-rules",
        "--audit",
        "--no-error-details",
        "--allowed-origins",
        "--max-connections-per-ip",
        "--help",
        "--version",
        "--path",
        "--max-payload-bytes",
        "--admin-secret-file",
        "--ready-line",
        "--check",
        "--strict-config",
        "--log-level",
    ] {
        assert!(HELP.contains(flag), "{flag}");
    }
}

#[test]
fn mistakes_have_two_lines() {
    let hint = "Run \"noex-server --help\" for usage information.";
    for (args, text) in [
        (["--bogus"].as_slice(), "Unknown option \"--bogus\""),
        (&["--bo\ngus=1"], "Unknown option \"--bo\\ngus\""),
        (&["-x"], "Unknown option \"-x\""),
        (&["-ph"], ""),
        (&["--port"], "Option --port needs a value"),
        (&["-p"], "Option --port needs a value"),
        (&["--port", "--check"], "Option --port needs a value"),
        (&["--auth=yes"], "Option --auth takes no value"),
        (&["server.json"], "Unexpected argument \"server.json\""),
        (&["--", "x"], "Unexpected argument \"x\""),
        (&["--admin-secret", "two", "words"], "Unexpected argument after --admin-secret"),
        (
            &["--admin-secret", "a", "--admin-secret-file", "b"],
            "Options --admin-secret and --admin-secret-file exclude each other",
        ),
    ] {
        if text.is_empty() {
            assert_eq!(cli(args).port.as_deref(), Some("h"));
            continue;
        }
        assert_eq!(error(args), format!("Error: {text}\n{hint}"), "{args:?}");
    }
}

#[cfg(unix)]
#[test]
fn text_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt;
    let bad = || OsString::from_vec(vec![b'a', 0xff]);
    let error = parse_args([OsString::from("--name"), bad()], &|_| None).unwrap_err();
    assert_eq!(error.message(), "The value of option --name is not valid UTF-8");
    let error = parse_args([""; 0], &|name| (name == "NOEX_HOST").then(bad)).unwrap_err();
    assert_eq!(error.message(), "Environment variable NOEX_HOST is not valid UTF-8");
}

#[test]
fn option_beats_environment_beats_file_beats_default() {
    let file = r#"{"port": 3, "host": "file"}"#;
    let port = |cli: &Cli, file: &str| parse(file, cli).unwrap().config.port;
    let env = [("NOEX_PORT", "2"), ("NOEX_HOST", "env")];
    assert_eq!(port(&with_env(&["--port", "1"], &env), file), 1);
    assert_eq!(port(&with_env(&[], &env), file), 2);
    assert_eq!(port(&with_env(&[], &[("NOEX_PORT", "")]), file), 3);
    assert_eq!(port(&with_env(&[], &[]), "{}"), 8080);
    assert_eq!(parse(file, &with_env(&[], &env)).unwrap().config.host, "env");
    assert_eq!(with_env(&[], &[("NOEX_CONFIG", "e.json")]).config, Some(PathBuf::from("e.json")));
    assert_eq!(
        with_env(&["-c", "f.json"], &[("NOEX_CONFIG", "e.json")]).config,
        Some(PathBuf::from("f.json"))
    );
    assert_eq!(with_env(&[], &[("NOEX_ADMIN_SECRET", "e")]).admin_secret, Some(Secret::new("e")));
    let file_given = with_env(&["--admin-secret-file", "f"], &[("NOEX_ADMIN_SECRET", "e")]);
    assert_eq!(file_given.admin_secret, None);
}

#[test]
fn options_reach_the_config() {
    let args = [
        "--port",
        "0",
        "--persistence",
        "file",
        "--data-dir",
        "d",
        "--no-rules",
        "--no-error-details",
        "--allowed-origins",
        "https://a.example , http://b:1",
        "--max-connections-per-ip",
        "5",
        "--path",
        "/ws",
        "--max-payload-bytes",
        "64",
        "--log-level",
        "warn",
        "--ready-line",
        "--check",
        "--name",
        "n",
        "--audit",
    ];
    let file = r#"{"rules": {"rules": []}, "log": {"format": "json"}, "audit": {"maxEntries": 7}}"#;
    let config = parse(file, &cli(&args)).unwrap().config;
    assert_eq!((config.port, config.max_payload_bytes, config.path.as_str()), (0, 64, "/ws"));
    assert_eq!(config.persistence, Persistence::File { dir: "d".to_owned() });
    assert_eq!(config.rules, RulesConfig::Off);
    assert!(!config.expose_error_details && config.ready_line && config.check);
    assert_eq!(config.allowed_origins.unwrap(), ["https://a.example", "http://b:1"]);
    assert_eq!((config.max_connections_per_ip, config.name.as_str()), (Some(5), "n"));
    assert_eq!((config.log.level, config.log.format), (LogLevel::Warn, noex_config::LogFormat::Json));
    assert_eq!(config.audit.unwrap().max_entries, 7);
    let sqlite = parse("{}", &cli(&["--persistence", "sqlite"])).unwrap().config.persistence;
    assert_eq!(sqlite, Persistence::Sqlite { path: "./noex.db".to_owned() });
}

#[test]
fn wrong_option_values_are_reported_like_keys() {
    let args = [
        "--port",
        "abc",
        "--max-connections-per-ip",
        "0",
        "--allowed-origins",
        "https://a/,",
        "--log-level",
        "loud",
        "--path",
        "x",
        "--max-payload-bytes",
        "1.5",
        "--persistence",
        "tape",
        "--host",
        "",
        "--auth",
    ];
    assert_eq!(
        problems_with("{}", &cli(&args)),
        [
            "Invalid port: \"abc\" (must be integer 0-65535)",
            "Invalid host: \"\" (must be non-empty string)",
            "Invalid path: \"x\" (must be string starting with \"/\")",
            "Invalid maxPayloadBytes: 1.5 (must be integer 64-1073741824)",
            "Unknown persistence type: tape (must be memory, file, or sqlite)",
            "--admin-secret is required when --auth is enabled",
            "Invalid allowedOrigins: [\"https://a/\",\"\"] (must be array of origins like \"https://host[:port]\")",
            "Invalid maxConnectionsPerIp: 0 (must be integer >= 1)",
            "Invalid log.level: \"loud\" (must be \"error\", \"warn\", \"info\" or \"debug\")",
        ]
    );
    let port = problems_with("{}", &cli(&["--port", "70000"]));
    assert_eq!(port, ["Invalid port: 70000 (must be integer 0-65535)"]);
}

fn secret_of(file: &str, cli: &Cli) -> String {
    match parse(file, cli).unwrap().config.auth {
        AuthConfig::BuiltIn(auth) => auth.admin_secret.expose().to_owned(),
        other @ (AuthConfig::None | AuthConfig::Token(_)) => panic!("{other:?}"),
    }
}

#[test]
fn auth_option_and_secret() {
    let secret = "option-secret-0123456789";
    let args = ["--auth", "--admin-secret", secret];
    let inner = r#"{"auth": {"builtIn": true, "adminSecret": "inner"}, "adminSecret": "outer"}"#;
    assert_eq!(secret_of("{}", &cli(&args)), secret);
    assert_eq!(secret_of(inner, &cli(&["--admin-secret", secret])), secret);
    assert_eq!(secret_of(inner, &cli(&["--auth"])), "inner");
    assert_eq!(secret_of(r#"{"auth": {"builtIn": true}, "adminSecret": "outer"}"#, &cli(&[])), "outer");
    assert_eq!(secret_of(r#"{"auth": false, "adminSecret": "outer"}"#, &cli(&["--auth"])), "outer");
    let tokens = r#"{"auth": {"tokens": {"t": {"userId": "u"}}}}"#;
    assert_eq!(problems_with(tokens, &cli(&args)), ["auth: \"builtIn\" and \"tokens\" exclude each other"]);
    let empty = ["--auth", "--admin-secret", ""];
    assert_eq!(problems_with(inner, &cli(&empty)), ["--admin-secret is required when --auth is enabled"]);
}

/// A file in the folder for temporary files, removed at the end of the test.
struct TempFile(PathBuf);

impl TempFile {
    fn new(name: &str, content: &str) -> Self {
        let path = std::env::temp_dir().join(format!("noex-config-{}-{name}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        Self(path)
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for TempFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

#[test]
fn files_are_read() {
    let config = TempFile::new("a.json", r#"{"port": 77, "auth": true}"#);
    let secret = TempFile::new("secret", " from a file, kept whole \r\n");
    let loaded = load(&cli(&["-c", config.path(), "--admin-secret-file", secret.path()])).unwrap();
    assert_eq!((loaded.config.port, loaded.warnings.len()), (77, 0));
    match loaded.config.auth {
        AuthConfig::BuiltIn(auth) => assert_eq!(auth.admin_secret.expose(), " from a file, kept whole "),
        other @ (AuthConfig::None | AuthConfig::Token(_)) => panic!("{other:?}"),
    }
    assert_eq!(load(&cli(&[])).unwrap().config, noex_config::Config::default());
}

#[test]
fn unreadable_files_are_named() {
    let error = load(&cli(&["-c", "no/such.json"])).unwrap_err();
    assert!(error.to_string().starts_with("Error loading config file: no/such.json: "), "{error}");
    let config = TempFile::new("b.json", r#"{"auth": true, "port": -1}"#);
    let error =
        load(&cli(&["-c", config.path(), "--admin-secret-file", "no/secret"])).unwrap_err().to_string();
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[0].starts_with("Error: Cannot read admin secret file: no/secret: "), "{error}");
    assert_eq!(lines[1..], ["Error: Invalid port: -1 (must be integer 0-65535)"]);
}

#[test]
fn text_that_is_not_a_json_object_is_a_file_error() {
    for text in ["", "{", "{\"port\": 1} // comment", "{\"port\": 01}", "\u{feff}{}", &"[".repeat(100_000)] {
        let error = parse(text, &Cli::default()).unwrap_err();
        assert!(matches!(error, LoadError::File(_)), "{text:.20}");
        assert!(error.to_string().starts_with("Error loading config file: "));
    }
    for text in ["[]", "null", "1", "\"{}\""] {
        let expected = LoadError::File("Config file must contain a JSON object".to_owned());
        assert_eq!(parse(text, &Cli::default()), Err(expected), "{text}");
    }
}
