//! A TCP echo server on monoio's io_uring: says its port, and serves until it is killed.

use monoio::io::{AsyncReadRent, AsyncWriteRentExt};
use monoio::net::TcpListener;

fn main() -> std::io::Result<()> {
    let mut runtime = monoio::RuntimeBuilder::<monoio::IoUringDriver>::new().build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        println!("port {}", listener.local_addr()?.port());
        loop {
            let (mut peer, _) = listener.accept().await?;
            peer.set_nodelay(true)?;
            monoio::spawn(async move {
                let mut data: Vec<u8> = Vec::with_capacity(4096);
                loop {
                    let (got, back) = peer.read(data).await;
                    let Ok(1..) = got else { break };
                    let (put, back) = peer.write_all(back).await;
                    if put.is_err() {
                        break;
                    }
                    data = back;
                    data.clear();
                }
            });
        }
    })
}
