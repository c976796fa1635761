//! `portolan ctl`: everything that the API does, from a command line. Nouns and verbs come from the route table, so a
//! route that is added is a command that is there.

pub mod commands;
mod words;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use clap::Args;
use rustls::ClientConfig;
use serde_json::{Map, Value};

use crate::cli::exit::Exit;
use crate::cli::table;
use crate::layout::Layout;
use crate::outward::{self, Url};
use commands::{Command, Kind};
use words::Typed;

/// The largest answer that is read.
const ANSWER_MAX: usize = 64 * 1024 * 1024;
/// How long an answer may take: a page's own limit, and some way.
const PATIENCE: Duration = Duration::from_secs(60);

/// How the type ends of the error that says that there is no owner yet.
const SETUP: &str = "errors#setup";

/// What `portolan ctl` takes.
///
/// Without --url it is this machine's own appliance, with the token that its manager keeps for its own user and root.
#[derive(Args, Debug)]
pub struct CtlArgs {
    /// Where the appliance is, `https://name`; this machine's own when absent.
    #[arg(long, env = "PORTOLAN_URL")]
    url: Option<String>,
    /// A file with an API token, `-` for standard input; with --url needed.
    #[arg(long, value_name = "FILE|-")]
    token: Option<PathBuf>,
    /// PEM of the authority that signed the appliance's certificate.
    #[arg(long, value_name = "FILE", conflicts_with = "pin")]
    ca: Option<PathBuf>,
    /// SHA-256 of the appliance's certificate, as its start prints it.
    #[arg(long, value_name = "HEX", env = "PORTOLAN_PIN")]
    pin: Option<String>,
    /// The data folder of this machine's own appliance.
    #[arg(long, default_value = "/var/lib/portolan")]
    data: PathBuf,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
    /// Noun, verb, and what they take: `subnets`, `subnets list --q plant`, `subnets create --help`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
    words: Vec<String>,
}

/// Why nothing came of it.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Usage(String),
    #[error("{what}: {error}")]
    File { what: String, error: io::Error },
    #[error("{url} cannot be reached: {error}")]
    Unreachable { url: String, error: io::Error },
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Forbidden(String),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Refused(_) => Exit::Refused,
            Self::Forbidden(_) => Exit::Forbidden,
            Self::File { .. } | Self::Unreachable { .. } => Exit::Unreachable,
        }
    }
}

/// Runs what was typed.
#[must_use]
pub fn run(args: &CtlArgs) -> ExitCode {
    let commands = commands::all();
    let outcome = match args.words.as_slice() {
        [] => Ok(nouns(&commands)),
        [noun] => verbs(&commands, noun),
        [noun, verb, rest @ ..] => find(&commands, noun, verb).and_then(|command| {
            if rest.iter().any(|word| word == "--help" || word == "-h") {
                return Ok(help(command));
            }
            let typed = words::read(command, rest).map_err(Failure::Usage)?;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(|error| Failure::File { what: "a runtime".into(), error })?;
            let answer = runtime.block_on(done(args, command, typed))?;
            Ok(if args.json { format!("{answer:#}\n") } else { table::show(&answer) })
        }),
    };
    match outcome {
        Ok(text) => {
            // Whoever closes the pipe has read enough.
            let _ = io::Write::write_all(&mut io::stdout(), text.as_bytes());
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("portolan ctl: {failure}");
            failure.exit().into()
        }
    }
}

fn nouns(commands: &[Command]) -> String {
    let mut nouns: Vec<&str> = commands.iter().map(|command| command.noun.as_str()).collect();
    nouns.dedup();
    format!("portolan ctl NOUN shows what can be done with one of\n  {}\n", nouns.join("\n  "))
}

fn verbs(commands: &[Command], noun: &str) -> Result<String, Failure> {
    let of: Vec<&Command> = commands.iter().filter(|command| command.noun == noun).collect();
    if of.is_empty() {
        return Err(Failure::Usage(format!("{noun:?} is no noun; `portolan ctl` lists them")));
    }
    let wide = of.iter().map(|command| command.verb.len()).max().unwrap_or(0);
    Ok(of.iter().map(|command| format!("{noun} {:wide$}  {}\n", command.verb, command.summary)).collect())
}

fn find<'a>(commands: &'a [Command], noun: &str, verb: &str) -> Result<&'a Command, Failure> {
    if let Some(command) = commands.iter().find(|command| command.noun == noun && command.verb == verb) {
        return Ok(command);
    }
    let known = verbs(commands, noun)?;
    Err(Failure::Usage(format!("{verb:?} is no verb of {noun}; there are\n{known}")))
}

fn help(command: &Command) -> String {
    let places: String =
        command.places.iter().map(|place| format!(" {}", place.to_ascii_uppercase())).collect();
    let mut text = format!(
        "Usage: portolan ctl {} {}{places} [options]\n\n{} ({} {})\n\n",
        command.noun, command.verb, command.summary, command.method, command.path
    );
    let value = |kind: Kind| match kind {
        Kind::Text => " TEXT",
        Kind::Integer => " N",
        Kind::Boolean => "[=true|false]",
        Kind::List => " TEXT …",
        Kind::Secret => " FILE|-",
        Kind::Json => " JSON",
    };
    let options: Vec<(String, String)> = command
        .fields
        .iter()
        .map(|field| {
            let needed = if field.required { " (needed)" } else { "" };
            (field.option() + value(field.kind), format!("{}{needed}", field.about))
        })
        .collect();
    let wide = options.iter().map(|(option, _)| option.chars().count()).max().unwrap_or(0);
    for (option, about) in options {
        text.push_str(format!("  {option:wide$}  {about}").trim_end());
        text.push('\n');
    }
    if command.pages() {
        text.push_str("  --all  every page, not only the first\n");
    }
    text
}

/// The command with its nouns and verbs as commands of their own, which it reads by itself.
#[must_use]
pub fn definition(ctl: &clap::Command) -> clap::Command {
    let plain = ctl.get_arguments().filter(|arg| arg.get_id() != "words").cloned();
    let mut whole = clap::Command::new("ctl").args(plain).disable_help_subcommand(true);
    whole = ctl.get_about().cloned().into_iter().fold(whole, clap::Command::about);
    whole = ctl.get_long_about().cloned().into_iter().fold(whole, clap::Command::long_about);
    let mut nouns: Vec<clap::Command> = Vec::new();
    for command in commands::all() {
        let verb = defined(&command);
        if let Some(noun) = nouns.last_mut().filter(|noun| noun.get_name() == command.noun) {
            *noun = noun.clone().subcommand(verb);
        } else {
            let about = format!("What can be done with {}", command.noun.replace('-', " "));
            let noun = clap::Command::new(command.noun).about(about).disable_help_subcommand(true);
            nouns.push(noun.subcommand(verb));
        }
    }
    whole.subcommands(nouns)
}

fn defined(command: &Command) -> clap::Command {
    let mut verb = clap::Command::new(command.verb.clone()).about(command.summary.clone());
    for place in &command.places {
        verb = verb
            .arg(clap::Arg::new(format!("place-{place}")).value_name(place.to_uppercase()).required(true));
    }
    for field in &command.fields {
        let option = field.option();
        let long = option.trim_start_matches('-').to_owned();
        let arg =
            clap::Arg::new(field.name.clone()).long(long).help(field.about.clone()).required(field.required);
        verb = verb.arg(match field.kind {
            Kind::Text => arg.value_name("TEXT"),
            Kind::Integer => arg.value_name("N"),
            Kind::Boolean => arg.num_args(0..=1).require_equals(true).value_parser(["true", "false"]),
            Kind::List => arg.value_name("TEXT").action(clap::ArgAction::Append),
            Kind::Secret => arg.value_name("FILE").value_hint(clap::ValueHint::FilePath).required(false),
            Kind::Json => arg.value_name("JSON"),
        });
    }
    if command.pages() {
        let all = clap::Arg::new("--all").long("all").action(clap::ArgAction::SetTrue);
        verb = verb.arg(all.help("Every page, not only the first"));
    }
    verb
}

/// Where and as whom.
struct Appliance {
    url: String,
    token: String,
    tls: Option<Arc<ClientConfig>>,
}

impl Appliance {
    fn of(args: &CtlArgs) -> Result<Self, Failure> {
        let read = |path: &PathBuf| {
            fs::read_to_string(path)
                .map_err(|error| Failure::File { what: path.display().to_string(), error })
        };
        // Never from the environment or the command line, which others on the machine may read.
        let given = match &args.token {
            Some(path) if path.as_os_str() == "-" => Some(
                io::read_to_string(io::stdin().lock())
                    .map_err(|error| Failure::File { what: "standard input".to_owned(), error })?,
            ),
            path => path.as_ref().map(read).transpose()?,
        };
        let Some(url) = args.url.clone() else {
            let layout = Layout::new(&args.data);
            let pages = read(&layout.operator_pages())?;
            let (url, pin) = pages.trim().split_once(' ').unwrap_or((pages.trim(), ""));
            let token = given.map_or_else(|| read(&layout.operator_token()), Ok)?;
            let tls = outward::pinned(pin).map_err(Failure::Usage)?;
            return Ok(Self { url: url.to_owned(), token: token.trim().to_owned(), tls: Some(tls) });
        };
        let token = given.ok_or_else(|| {
            Failure::Usage("with --url a token is needed: --token FILE, or - for standard input".to_owned())
        })?;
        let tls = match (&args.ca, &args.pin) {
            (Some(path), _) => Some(outward::trusting(&read(path)?).map_err(Failure::Usage)?),
            (None, Some(pin)) => Some(outward::pinned(pin).map_err(Failure::Usage)?),
            (None, None) => {
                let why = "with --url, --ca FILE or --pin HEX says whose certificate is trusted";
                return Err(Failure::Usage(why.to_owned()));
            }
        };
        Ok(Self { url: url.trim_end_matches('/').to_owned(), token: token.trim().to_owned(), tls })
    }

    async fn ask(&self, method: &str, path: &str, input: &Map<String, Value>) -> Result<Value, Failure> {
        let (status, value) = self.answer(method, path, input).await?;
        if status.is_success() {
            return Ok(value);
        }
        let said = problem(status.as_u16(), &value);
        Err(if matches!(status.as_u16(), 401 | 403) {
            Failure::Forbidden(said)
        } else {
            Failure::Refused(said)
        })
    }

    /// What comes back, whatever it says.
    async fn answer(
        &self,
        method: &str,
        path: &str,
        input: &Map<String, Value>,
    ) -> Result<(StatusCode, Value), Failure> {
        let url = Url::parse(&format!("{}/api/v1{path}", self.url)).map_err(Failure::Usage)?;
        if !url.secure {
            return Err(Failure::Usage(format!("{}: a token is sent over https:// alone", self.url)));
        }
        let body = if method == "GET" {
            Body::empty()
        } else {
            Body::from(Value::Object(input.clone()).to_string())
        };
        let request = Request::builder()
            .method(method)
            .uri(&url.path)
            .header(header::HOST, &url.authority)
            .header(header::ACCEPT, "application/json")
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token))
            .header(header::USER_AGENT, concat!("portolan-ctl/", env!("CARGO_PKG_VERSION")))
            .body(body)
            .map_err(|error| Failure::Usage(error.to_string()))?;
        let unreachable = |error: io::Error| Failure::Unreachable { url: self.url.clone(), error };
        let work = async {
            let answer = outward::ask(&url, self.tls.as_ref(), request).await?;
            let status = answer.status();
            let bytes =
                axum::body::to_bytes(answer.into_body(), ANSWER_MAX).await.map_err(io::Error::other)?;
            Ok((status, bytes))
        };
        let (status, bytes) = tokio::time::timeout(PATIENCE, work)
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
            .map_err(unreachable)?;
        let value: Value = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok((status, value))
    }
}

/// Whether this machine's own appliance answers its operator with what is at this path of the API; why not, in words.
/// Before there is an owner the answer that it waits for one is all that anyone gets, and is one.
pub(super) fn look(data: &Path, path: &str) -> Result<(), String> {
    let args = CtlArgs {
        url: None,
        token: None,
        ca: None,
        pin: None,
        data: data.to_owned(),
        json: true,
        words: Vec::new(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let asked = async { Appliance::of(&args)?.answer("GET", path, &Map::new()).await };
    let (status, value) = runtime.block_on(asked).map_err(|failure| failure.to_string())?;
    let waits = value["type"].as_str().is_some_and(|kind| kind.ends_with(SETUP));
    if status.is_success() || waits { Ok(()) } else { Err(problem(status.as_u16(), &value)) }
}

/// An error of the API in words: what it is, and each field that is wrong.
fn problem(status: u16, value: &Value) -> String {
    let title = value["title"].as_str().unwrap_or("the answer is an error");
    let mut text = format!("{title} ({status})");
    if let Some(detail) = value["detail"].as_str() {
        text.push_str(&format!(": {detail}"));
    }
    for error in value["errors"].as_array().into_iter().flatten() {
        let word = |key: &str| error[key].as_str().unwrap_or_default().to_owned();
        text.push_str(&format!("\n  --{}: {}", word("field").replace('_', "-"), word("message")));
    }
    text
}

async fn done(args: &CtlArgs, command: &Command, typed: Typed) -> Result<Value, Failure> {
    let appliance = Appliance::of(args)?;
    let Typed { path, mut input, all } = typed;
    let mut whole: Option<Value> = None;
    loop {
        let asked = if command.method == "GET" { format!("{path}{}", query(&input)) } else { path.clone() };
        let answer = appliance.ask(&command.method, &asked, &input).await?;
        let next = answer["next"].as_str().filter(|_| all).map(str::to_owned);
        whole = Some(match whole {
            None => answer,
            Some(mut before) => {
                let more = answer["items"].as_array().cloned().unwrap_or_default();
                if let Some(items) = before["items"].as_array_mut() {
                    items.extend(more);
                }
                before["next"] = Value::Null;
                before
            }
        });
        match next {
            Some(cursor) => input.insert("cursor".to_owned(), Value::String(cursor)),
            None => return Ok(whole.unwrap_or_default()),
        };
    }
}

fn query(input: &Map<String, Value>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    for (name, value) in input {
        let each = match value {
            Value::Array(list) => list.as_slice(),
            one => std::slice::from_ref(one),
        };
        for value in each {
            query.append_pair(name, value.as_str().unwrap_or(&value.to_string()));
        }
    }
    let text = query.finish();
    if text.is_empty() { text } else { format!("?{text}") }
}
