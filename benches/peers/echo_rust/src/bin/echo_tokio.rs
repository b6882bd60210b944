//! A TCP echo server on one thread of tokio: says its port, and serves until it is killed.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn main() -> std::io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("port {}", listener.local_addr()?.port());
        loop {
            let (mut peer, _) = listener.accept().await?;
            peer.set_nodelay(true)?;
            tokio::task::spawn_local(async move {
                let mut data = [0; 4096];
                while let Ok(n @ 1..) = peer.read(&mut data).await {
                    if peer.write_all(&data[..n]).await.is_err() {
                        break;
                    }
                }
            });
        }
    })
}
