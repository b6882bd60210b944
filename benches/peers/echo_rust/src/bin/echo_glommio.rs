//! A TCP echo server on one executor of glommio: says its port, and serves until it is killed.

use futures_lite::{AsyncReadExt, AsyncWriteExt};
use glommio::net::TcpListener;
use glommio::LocalExecutorBuilder;

fn main() {
    let executor = LocalExecutorBuilder::default().make().expect("an executor");
    executor.run(async {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
        println!("port {}", listener.local_addr().expect("an address").port());
        loop {
            let mut peer = listener.accept().await.expect("a connection");
            peer.set_nodelay(true).expect("an option");
            glommio::spawn_local(async move {
                let mut data = [0; 4096];
                while let Ok(n @ 1..) = peer.read(&mut data).await {
                    if peer.write_all(&data[..n]).await.is_err() {
                        break;
                    }
                }
            })
            .detach();
        }
    })
}
