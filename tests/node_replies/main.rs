//! The node adapter against replies recorded from a real node (tests/fixtures/node_replies), served
//! by a socket that also loses answers and never gives them.

mod node;
mod server;
mod source;
mod target;

use deltakeep::extract::prostore::{ProstoreNode, Secret, Timeouts};
use deltakeep::model::Datamart;
use std::time::Duration;

use server::Server;

/// A node that answers with `server`'s script, asked about `sourcedb` with a token.
fn node_of(server: &Server) -> ProstoreNode {
    let datamart = Datamart::parse("sourcedb").expect("a datamart name");
    let timeouts = Timeouts { connect: Duration::from_secs(5), answer: Duration::from_secs(3) };
    let token = Some(Secret::new("canary-token"));
    ProstoreNode::new(server.address(), datamart, token, timeouts).expect("an HTTP client")
}
