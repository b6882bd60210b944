//! A TCP echo server on compio's io_uring: says its port, and serves until it is killed.

use compio::io::{AsyncRead, AsyncWriteExt};
use compio::net::TcpListener;

fn main() -> std::io::Result<()> {
    compio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        println!("port {}", listener.local_addr()?.port());
        loop {
            let (mut peer, _) = listener.accept().await?;
            compio::runtime::spawn(async move {
                let mut data: Vec<u8> = Vec::with_capacity(4096);
                loop {
                    let compio::BufResult(got, back) = peer.read(data).await;
                    let Ok(1..) = got else { break };
                    let compio::BufResult(put, back) = peer.write_all(back).await;
                    if put.is_err() {
                        break;
                    }
                    data = back;
                    data.clear();
                }
            })
            .detach();
        }
    })
}
