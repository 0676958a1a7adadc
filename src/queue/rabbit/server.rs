//! Where RabbitMQ is and how to log in. Owns the grammar of the address, which has no place for a
//! password, and the connection itself; never what goes over it.

use std::time::Duration;

use lapin::tcp::{OwnedIdentity, OwnedTLSConfig};
use lapin::uri::{AMQPAuthority, AMQPQueryString, AMQPScheme, AMQPUri, AMQPUserInfo};
use lapin::{Connection, ConnectionBuilder, ConnectionProperties, ErrorKind};
use percent_encoding::percent_decode_str;

use super::RabbitError;
use crate::clickhouse::Secret;

/// How long a login may take.
const LOGIN: Duration = Duration::from_secs(15);
/// Seconds; a broker that is silent for twice as long is gone.
const HEARTBEAT: u16 = 10;

/// A broker, and who we are there.
#[derive(Clone, Debug)]
pub struct Server {
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// Its name or number.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The virtual host.
    pub vhost: String,
    /// The user.
    pub user: String,
    /// The user's password.
    pub password: Secret,
    /// Authorities that are trusted besides the system's, PEM.
    pub authorities: Option<String>,
    /// Our certificate and its key, PEM, the key in PKCS #8.
    pub identity: Option<(Vec<u8>, Secret)>,
}

/// Why an address is none. The text of the address is not repeated: it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not amqp:// nor amqps://.
    #[error("amqp://HOST:PORT/VHOST or amqps://HOST:PORT/VHOST is wanted")]
    Form,
    /// A password where other users of the host can read it.
    #[error("a password has no place in an address: DELTAKEEP_AMQP_PASSWORD or its file")]
    Password,
}

impl Server {
    /// Reads `amqp[s]://[USER@]HOST[:PORT][/VHOST]`; `%2F` in the virtual host is a slash. Without
    /// a user it is RabbitMQ's own `guest`.
    ///
    /// # Errors
    /// [`AddressError`].
    pub fn parse(address: &str) -> Result<Self, AddressError> {
        let (scheme, rest) = address.split_once("://").ok_or(AddressError::Form)?;
        let tls = match scheme {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(AddressError::Form),
        };
        let (authority, vhost) = rest.split_once('/').unwrap_or((rest, ""));
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, _)) if user.contains(':') => return Err(AddressError::Password),
            Some((user, place)) => (decoded(user)?, place),
            None => ("guest".to_owned(), authority),
        };
        let (host, port) = place_of(place, if tls { 5671 } else { 5672 })?;
        let vhost = if vhost.is_empty() { "/".to_owned() } else { decoded(vhost)? };
        let password = Secret::new("guest".to_owned());
        Ok(Self { tls, host, port, vhost, user, password, authorities: None, identity: None })
    }

    /// How messages name it.
    pub fn place(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// Logs in. `frame`: largest frame, bytes, of which lapin keeps room for 64; none leaves it to the
    /// broker. The properties of a message must find room in one, also of one that comes.
    pub(super) async fn connect(
        &self,
        name: &str,
        frame: Option<u32>,
    ) -> Result<Connection, RabbitError> {
        let runtime =
            lapin::runtime::default_runtime().map_err(|error| self.unreachable(&error))?;
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let builder = ConnectionBuilder::new_with_runtime(runtime)
            .with_uri(self.uri(frame))
            .with_properties(properties)
            .with_tls_config(self.tls_config());
        match tokio::time::timeout(LOGIN, builder.connect()).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(self.failure(&error)),
            Err(_) => Err(self.unreachable(&"no answer")),
        }
    }

    fn uri(&self, frame_max: Option<u32>) -> AMQPUri {
        let password = self.password.expose().to_owned();
        let userinfo = AMQPUserInfo { username: self.user.clone(), password };
        AMQPUri {
            scheme: if self.tls { AMQPScheme::AMQPS } else { AMQPScheme::AMQP },
            authority: AMQPAuthority { userinfo, host: self.host.clone(), port: self.port },
            vhost: self.vhost.clone(),
            query: AMQPQueryString {
                heartbeat: Some(HEARTBEAT),
                frame_max,
                ..AMQPQueryString::default()
            },
        }
    }

    fn tls_config(&self) -> OwnedTLSConfig {
        let identity = self.identity.clone();
        OwnedTLSConfig {
            identity: identity.map(|(pem, key)| {
                let key = key.expose().as_bytes().to_vec();
                OwnedIdentity::PKCS8 { pem, key }
            }),
            cert_chain: self.authorities.clone(),
        }
    }

    fn unreachable(&self, reason: &dyn std::fmt::Display) -> RabbitError {
        RabbitError::Unreachable { server: self.place(), reason: reason.to_string() }
    }

    /// A broker that says no, and one that says nothing.
    pub(super) fn failure(&self, error: &lapin::Error) -> RabbitError {
        match error.kind() {
            ErrorKind::ProtocolError(said) => {
                let reason = said.to_string();
                match said.get_id() {
                    // CONNECTION-FORCED: it shuts down. INTERNAL-ERROR and RESOURCE-ERROR pass, too.
                    320 | 506 | 541 => self.unreachable(&reason),
                    _ => RabbitError::Refused { server: self.place(), reason },
                }
            }
            _ => self.unreachable(error),
        }
    }
}

fn decoded(text: &str) -> Result<String, AddressError> {
    let text = percent_decode_str(text).decode_utf8().map_err(|_| AddressError::Form)?;
    let plain = !text.is_empty() && text.len() <= 255 && !text.chars().any(char::is_control);
    if plain { Ok(text.into_owned()) } else { Err(AddressError::Form) }
}

fn place_of(text: &str, port: u16) -> Result<(String, u16), AddressError> {
    let after_bracket = text.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match text[after_bracket..].rfind(':').map(|at| at + after_bracket) {
        Some(at) => {
            let port = text[at + 1..].parse().ok().filter(|port| *port > 0);
            (&text[..at], port.ok_or(AddressError::Form)?)
        }
        None => (text, port),
    };
    let letter = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    let bare = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(inner) if inner.parse::<std::net::Ipv6Addr>().is_ok() => inner,
        _ if !host.is_empty() && host.chars().all(letter) => host,
        _ => return Err(AddressError::Form),
    };
    Ok((bare.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Option<(bool, String, u16, String, String)> {
        let Server { tls, host, port, vhost, user, .. } = Server::parse(text).ok()?;
        Some((tls, host, port, vhost, user))
    }

    #[test]
    fn addresses_are_read_and_have_rabbitmqs_defaults() {
        let plain = |port, vhost: &str, user: &str| {
            Some((false, "h".to_owned(), port, vhost.to_owned(), user.to_owned()))
        };
        assert_eq!(parsed("amqp://h"), plain(5672, "/", "guest"));
        assert_eq!(parsed("amqp://h:1/"), plain(1, "/", "guest"));
        assert_eq!(parsed("amqp://h:1/%2f"), plain(1, "/", "guest"));
        assert_eq!(parsed("amqp://me@h/jobs"), plain(5672, "jobs", "me"));
        let secure = (true, "::1".to_owned(), 5671, "/".to_owned(), "guest".to_owned());
        assert_eq!(parsed("amqps://[::1]"), Some(secure));
    }

    #[test]
    fn a_password_in_an_address_is_refused_and_not_repeated() {
        let error = Server::parse("amqp://me:canary@h/").expect_err("a password");
        assert_eq!(error, AddressError::Password);
        assert!(!error.to_string().contains("canary"));
        for bad in [
            "",
            "h:1",
            "http://h",
            "amqp://",
            "amqp://h:0",
            "amqp://h:99999",
            "amqp://h x",
            "amqp://h/%00",
            "amqp://h/%ff",
            "amqp://@h",
            "amqp://[::1",
            "amqp://h?x=1",
        ] {
            assert_eq!(Server::parse(bad).expect_err(bad), AddressError::Form, "{bad:?}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        let mut server = Server::parse("amqp://me@h").expect("an address");
        server.password = Secret::new("canary".to_owned());
        server.identity = Some((Vec::new(), Secret::new("canary".to_owned())));
        assert!(!format!("{server:?}").contains("canary"));
    }
}
