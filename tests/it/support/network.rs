//! A network between a client and a server that can be cut.

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Process, session};

/// Passes connections on to a server as long as it is not cut. Ends when dropped.
pub struct Network {
    /// `http://127.0.0.1:<port>`, where the client finds the server.
    pub url: String,
    /// `127.0.0.1:<port>` of the server, which answers for no other host.
    pub host: String,
    up: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
}

impl Network {
    /// A network that leads to `server`.
    pub async fn to(server: &Process) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        session::serves(&url, &server.data_dir());
        let (host, target) = (server.address().to_owned(), server.address().to_owned());
        let (up, state) = watch::channel(true);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass(client, target.clone(), state.clone()));
            }
        });
        Self { url, host, up, task }
    }

    /// Breaks all connections, and all that are opened until [`restore`](Self::restore).
    pub fn cut(&self) {
        self.up.send_replace(false);
    }

    /// Lets connections through again.
    pub fn restore(&self) {
        self.up.send_replace(true);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn pass(mut client: TcpStream, target: String, mut up: watch::Receiver<bool>) {
    if !*up.borrow_and_update() {
        return;
    }
    let Ok(mut server) = TcpStream::connect(target).await else { return };
    tokio::select! {
        _ = copy_bidirectional(&mut client, &mut server) => {}
        _ = up.wait_for(|up| !up) => {}
    }
}
