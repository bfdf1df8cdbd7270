//! A real Postgres for tests, from the machine's own binaries: one that all test processes of a user share, or one in
//! a folder of its own, gone with the processes that use it however those end.
//!
//! They are found under `POSTGRES_BIN`, on the `PATH`, or where Debian puts them (`apt-get install postgresql`).

use std::fs::File;
use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr as _;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio_postgres::NoTls;

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until its standard input ends, as it does with the process that started it, and until nobody uses the server
/// any more; then ends the server in the folder and removes that.
const JANITOR: &str = r#"
trap '' INT TERM HUP QUIT
read -r _
if [ -n "$2" ]; then
    exec 9<"$2"
    flock -x 9
fi
pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
if [ -n "$pid" ]; then
    kill -s QUIT "$pid"
    for _ in $(seq 100); do kill -0 "$pid" 2>/dev/null || break; sleep 0.02; done
fi
rm -rf "$1"
"#;

/// Whether what was committed survives the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// It does: commits wait for the disk.
    On,
    /// It does not, which is faster and can't be told apart while the machine runs.
    Off,
}

/// A server. Dropping it stops it at once.
#[derive(Debug)]
pub struct PostgresServer {
    folder: PathBuf,
    port: u16,
    settings: Vec<String>,
    running: Mutex<Option<Child>>,
    janitor: Option<Child>,
    databases: AtomicU32,
}

fn program(name: &str) -> PathBuf {
    let given = std::env::var_os("POSTGRES_BIN").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut debian: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    debian.sort();
    given
        .into_iter()
        .chain(debian.into_iter().rev())
        .chain(std::env::split_paths(&path))
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| {
            panic!("no {name} on this machine: `apt-get install postgresql`, or say where in POSTGRES_BIN")
        })
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout.trim_ascii() == b"0"
}

/// Postgres refuses to run as root: then it runs as its own user.
fn as_user(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=postgres", "--regid=postgres", "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    command.stdin(Stdio::null());
    command
}

/// Cleans up after the server in `folder`, and with `users` only when nobody has a lock on that file.
fn janitor(folder: &Path, users: Option<&Path>) -> Child {
    let mut command = Command::new("sh");
    // In a group of its own, so that what ends the others leaves it.
    command.args(["-c", JANITOR, "janitor"]).arg(folder).args(users).process_group(0);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn give_to_postgres(folder: &Path) {
    if is_root() {
        run(Command::new("chown").arg("-R").arg("postgres:postgres").arg(folder));
    }
}

/// A place for the files of this user's servers of this version.
fn place() -> PathBuf {
    let version = Command::new(program("postgres")).arg("--version").output().unwrap().stdout;
    let digits: String = String::from_utf8_lossy(&version).chars().filter(char::is_ascii_digit).collect();
    let user = Command::new("id").arg("-u").output().unwrap().stdout;
    let name = format!("tollway-postgres-{digits}-{}", String::from_utf8_lossy(user.trim_ascii()));
    std::env::temp_dir().join(name)
}

/// An empty cluster, made once and copied from then on.
fn template() -> PathBuf {
    let folder = place();
    let lock = File::create(folder.with_extension("lock")).unwrap();
    lock.lock().unwrap();
    let data = folder.join("data");
    if !folder.join("done").exists() {
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        give_to_postgres(&folder);
        let mut initdb = as_user(&program("initdb"));
        initdb.arg("-D").arg(&data).args(["-A", "trust", "-U", "postgres", "-E", "UTF8"]);
        run(initdb.args(["--no-locale", "--no-sync", "--wal-segsize=1"]));
        std::fs::write(folder.join("done"), "").unwrap();
    }
    data
}

impl PostgresServer {
    /// The server that all test processes share, without syncs. It is not to be stopped.
    #[must_use]
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<(PostgresServer, File)> = OnceLock::new();
        let (server, _) = SHARED.get_or_init(|| {
            let (folder, users) = (place().with_extension("shared"), place().with_extension("users"));
            // Held for as long as this process lives.
            let using = File::create(&users).unwrap();
            using.lock_shared().unwrap();
            let starting = File::create(place().with_extension("start")).unwrap();
            starting.lock().unwrap();
            (
                Self::join(&folder).unwrap_or_else(|| Self::start_in(folder, Some(&users), Sync::Off, &[])),
                using,
            )
        });
        server
    }

    /// The server that runs in `folder`, if one does.
    fn join(folder: &Path) -> Option<Self> {
        let port = u16::from_str(&std::fs::read_to_string(folder.join("port")).ok()?).ok()?;
        let server = Self {
            folder: folder.to_owned(),
            port,
            settings: Vec::new(),
            running: Mutex::default(),
            janitor: None,
            databases: AtomicU32::new(0),
        };
        server.is_ready().then_some(server)
    }

    /// A server with a new cluster and these `settings` besides, as `name=value`.
    #[must_use]
    pub fn start(sync: Sync, settings: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("tollway-pg-").tempdir().unwrap().keep();
        Self::start_in(folder, None, sync, settings)
    }

    fn start_in(folder: PathBuf, users: Option<&Path>, sync: Sync, settings: &[&str]) -> Self {
        let template = template();
        // What a machine that went down may have left.
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        let janitor = Some(janitor(&folder, users));
        run(Command::new("cp").arg("-a").arg(template).arg(folder.join("data")));
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        std::fs::write(folder.join("port"), port.to_string()).unwrap();
        give_to_postgres(&folder);
        let mut all = vec!["max_connections=400".to_owned(), "shared_buffers=32MB".to_owned()];
        if sync == Sync::Off {
            all.extend(["fsync=off".to_owned(), "full_page_writes=off".to_owned()]);
        }
        all.extend(settings.iter().map(|setting| (*setting).to_owned()));
        let (running, databases) = (Mutex::default(), AtomicU32::new(0));
        let server = Self { folder, port, settings: all, running, janitor, databases };
        server.go();
        server
    }

    /// Where its files are.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Puts a file beside the cluster's, for the server's eyes only.
    pub fn put(&self, name: &str, text: &str) {
        let path = self.data().join(name);
        std::fs::write(&path, text).unwrap();
        run(Command::new("chmod").arg("600").arg(&path));
        give_to_postgres(&path);
    }

    /// Copies the cluster as it is, to come back with [`PostgresServer::put_back`]. It has to be stopped.
    pub fn set_aside(&self) {
        run(Command::new("cp").arg("-a").arg(self.data()).arg(self.folder.join("aside")));
    }

    /// Puts the copy in the cluster's place. It has to be stopped.
    pub fn put_back(&self) {
        std::fs::remove_dir_all(self.data()).unwrap();
        std::fs::rename(self.folder.join("aside"), self.data()).unwrap();
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database there, by its socket in the file system.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        let socket = self.folder.display().to_string().replace('/', "%2F");
        format!("postgres://postgres@{socket}:{}/{database}", self.port)
    }

    /// A new, empty database; its URL.
    #[must_use]
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::SeqCst);
        // Tests of other processes may use the same server by its URL.
        let name = format!("d{}_{number}", std::process::id());
        self.execute("postgres", &format!("CREATE DATABASE {name}"));
        self.url(&name)
    }

    /// Does `sql` in a database, and gives the first column of the last rows.
    ///
    /// Blocks: in an asynchronous test too, on a thread of its own.
    pub fn execute(&self, database: &str, sql: &str) -> Vec<String> {
        let (url, sql) = (self.url(database), sql.to_owned());
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
                let driving = tokio::spawn(connection);
                let messages = client.simple_query(&sql).await?;
                drop(client);
                let _ = driving.await;
                Ok::<_, tokio_postgres::Error>(messages)
            })
        };
        let messages = std::thread::spawn(work).join().unwrap();
        let messages = messages.unwrap_or_else(|error| panic!("{error:?}"));
        let first = |message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        };
        messages.into_iter().filter_map(first).collect()
    }

    /// Starts it, after [`PostgresServer::stop`]; returns when it can be used.
    pub fn go(&self) {
        let mut command = as_user(&program("postgres"));
        command.arg("-D").arg(self.data()).arg("-k").arg(&self.folder);
        command.args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log).process_group(0);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = Some(child);
        let until = Instant::now() + PATIENCE;
        while !self.is_ready() {
            assert!(Instant::now() < until, "Postgres did not start: {}", self.tail());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn is_ready(&self) -> bool {
        let mut command = Command::new(program("pg_isready"));
        command.arg("-h").arg(&self.folder).args(["-p", &self.port.to_string(), "-q"]);
        command.status().is_ok_and(|status| status.success())
    }

    /// Stops it as a power cut would: nothing is finished, nothing is written.
    pub fn stop(&self) {
        self.end("QUIT");
    }

    /// Stops it orderly, ending its connections.
    pub fn shut_down(&self) {
        self.end("INT");
    }

    fn end(&self, signal: &'static str) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut child) = running else { return };
        run(Command::new("kill").args(["-s", signal, &child.id().to_string()]));
        child.wait().unwrap();
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    fn tail(&self) -> String {
        std::fs::read_to_string(self.log()).unwrap_or_default()
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        self.stop();
        if let Some(mut janitor) = self.janitor.take() {
            drop(janitor.stdin.take());
            let _ = janitor.wait();
        }
    }
}
