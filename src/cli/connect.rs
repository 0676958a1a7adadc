//! The connection string (seed, "--connect"): node, datamart, token. Owns its grammar; no error
//! repeats any of its text, for a misplaced token would be in it.

use std::ffi::OsString;

use percent_encoding::percent_decode_str;

use crate::extract::prostore::Secret;
use crate::model::Datamart;

/// The prefix that JDBC clients of Prostore use.
const JDBC: &str = "jdbc:prostore://";

/// A node and a datamart on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Connection {
    /// host:port
    pub node: String,
    /// The datamart.
    pub datamart: Datamart,
    /// The token in the string, if there is one.
    pub token: Option<Secret>,
}

/// Why a connection string is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectError {
    /// Another scheme than `jdbc:prostore://`.
    #[error("it has a scheme other than jdbc:prostore://")]
    Scheme,
    /// No `/DATAMART` after the address.
    #[error("it names no datamart after the address")]
    NoDatamart,
    /// The datamart has letters that a name cannot have.
    #[error("its datamart is not a name: a letter, then letters, digits and underscores")]
    BadDatamart,
    /// No host.
    #[error("it names no host")]
    NoHost,
    /// The host has letters that a host cannot have.
    #[error("its host is neither a name nor an address; an IPv6 address stands in brackets")]
    BadHost,
    /// No port, or a number that is none.
    #[error("its port is missing or not a number from 1 to 65535")]
    BadPort,
    /// Something after `?` that is not known.
    #[error("after ? only user=jwt and password=TOKEN are known")]
    BadQuery,
    /// A user other than `jwt`, or none beside a password.
    #[error("a password needs user=jwt beside it, and no other user is known")]
    BadUser,
    /// `user=jwt` without a token.
    #[error("user=jwt needs password=TOKEN beside it")]
    NoPassword,
}

impl Connection {
    /// Reads `[jdbc:prostore://]HOST:PORT/DATAMART[?user=jwt&password=TOKEN]`.
    ///
    /// # Errors
    /// [`ConnectError`] for any other text.
    pub fn parse(text: &str) -> Result<Self, ConnectError> {
        let text = text.trim();
        let text = text.strip_prefix(JDBC).unwrap_or(text);
        let (place, query) = text.split_once('?').unwrap_or((text, ""));
        if place.contains("://") {
            return Err(ConnectError::Scheme);
        }
        let (address, datamart) = place.split_once('/').ok_or(ConnectError::NoDatamart)?;
        if datamart.is_empty() {
            return Err(ConnectError::NoDatamart);
        }
        check_address(address)?;
        let datamart = Datamart::parse(datamart).map_err(|_| ConnectError::BadDatamart)?;
        Ok(Self { node: address.to_owned(), datamart, token: token_in(query)? })
    }
}

/// Whether `text` is HOST:PORT; an IPv6 host stands in brackets.
pub(super) fn check_address(text: &str) -> Result<(), ConnectError> {
    let (host, port) = text.rsplit_once(':').ok_or(ConnectError::BadPort)?;
    if port.parse::<u16>().map_or(true, |port| port == 0) {
        return Err(ConnectError::BadPort);
    }
    if host.is_empty() {
        return Err(ConnectError::NoHost);
    }
    let inner = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let well = match inner {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')),
    };
    if well { Ok(()) } else { Err(ConnectError::BadHost) }
}

fn token_in(query: &str) -> Result<Option<Secret>, ConnectError> {
    let (mut user, mut password) = (None, None);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or(ConnectError::BadQuery)?;
        let value = percent_decode_str(value).decode_utf8().map_err(|_| ConnectError::BadQuery)?;
        match name {
            "user" => user = Some(value),
            "password" => password = Some(value).filter(|value| !value.is_empty()),
            _ => return Err(ConnectError::BadQuery),
        }
    }
    match (user.as_deref(), password) {
        (None, None) => Ok(None),
        (Some("jwt"), Some(password)) => Ok(Some(Secret::new(password))),
        (Some("jwt"), None) => Err(ConnectError::NoPassword),
        _ => Err(ConnectError::BadUser),
    }
}

/// Ends of names whose values nobody may see, in connection strings and settings of clients.
const SECRET: [&str; 6] =
    ["password=", "secret=", "token=", ".pem=", "jaas.config=", "oauthbearer.config="];

/// What is secret in a word of the command line; empty where nothing is.
fn secret_in(word: &str) -> &str {
    let values = SECRET.iter().filter_map(|name| word.split_once(name)).map(|(_, value)| value);
    let value = values.max_by_key(|value| value.len()).unwrap_or_default();
    if value.starts_with('@') { "" } else { value }
}

/// `text` without the secrets that were typed: for texts that quote what was typed. Values are
/// taken from the words themselves, since a password can hold any letter.
pub fn mask_typed(text: &str, words: &[OsString]) -> String {
    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let secrets = words.iter().map(|word| secret_in(word)).filter(|secret| !secret.is_empty());
    secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "[secret]"))
}

/// A value without the secret in it.
pub fn mask(value: &str) -> String {
    mask_typed(value, &[OsString::from(value)])
}

/// Whether a word of the command line has a secret in it, and not the file of one.
pub fn tells_secret(word: &str) -> bool {
    !secret_in(word).is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> Result<(String, String, Option<String>), ConnectError> {
        Connection::parse(text).map(|c| {
            (c.node, c.datamart.to_string(), c.token.map(|token| token.expose().to_owned()))
        })
    }

    #[test]
    fn the_seeds_strings_are_read() {
        let plain = ("10.92.3.86:9090".to_owned(), "marketing".to_owned(), None);
        assert_eq!(parts("10.92.3.86:9090/marketing"), Ok(plain.clone()));
        assert_eq!(parts("jdbc:prostore://10.92.3.86:9090/Marketing"), Ok(plain));
        assert_eq!(
            parts("[::1]:9090/m?password=a%26b+c&user=jwt"),
            Ok(("[::1]:9090".to_owned(), "m".to_owned(), Some("a&b+c".to_owned())))
        );
    }

    #[test]
    fn each_mistake_has_its_name_and_none_repeats_the_text() {
        let mistakes = [
            ("http://h:1/canary", ConnectError::Scheme),
            ("h:1", ConnectError::NoDatamart),
            ("h:1/", ConnectError::NoDatamart),
            ("h:1/m&password=canary", ConnectError::BadDatamart),
            (":1/m", ConnectError::NoHost),
            ("can ary:1/m", ConnectError::BadHost),
            ("::1:9090/m", ConnectError::BadHost),
            ("[canary]:9090/m", ConnectError::BadHost),
            ("canary/m", ConnectError::BadPort),
            ("h:0/m", ConnectError::BadPort),
            ("h:65536/m", ConnectError::BadPort),
            ("h:1/m?canary", ConnectError::BadQuery),
            ("h:1/m?token=canary", ConnectError::BadQuery),
            ("h:1/m?user=jwt&password=%ff", ConnectError::BadQuery),
            ("h:1/m?user=bob&password=canary", ConnectError::BadUser),
            ("h:1/m?password=canary", ConnectError::BadUser),
            ("h:1/m?user=jwt", ConnectError::NoPassword),
        ];
        for (text, mistake) in mistakes {
            assert_eq!(parts(text), Err(mistake), "{text}");
            assert!(!mistake.to_string().contains("canary"));
        }
    }

    #[test]
    fn what_was_typed_as_a_secret_is_hidden_where_it_is_quoted() {
        for typed in [
            "h:1/m?user=jwt&password=canary",
            "h:1/m?password=canary&user=jwt",
            "sasl.password=my 'canary' & \"canary\"",
            "sasl.oauthbearer.client.secret=canary",
            "ssl.key.pem=-----BEGIN PRIVATE KEY-----\ncanary",
            "sasl.oauthbearer.config=principal=canary password=canary",
        ] {
            let text = format!("error: unexpected argument '{typed}' found");
            let hidden = mask_typed(&text, &["resume".into(), typed.into()]);
            assert!(!hidden.contains("canary") && hidden.contains("[secret]"), "{hidden}");
            assert!(tells_secret(typed), "{typed}");
        }
        let plain = "unexpected argument 'sasl.password=@/run/key'";
        assert_eq!(mask_typed(plain, &["sasl.password=@/run/key".into()]), plain);
    }

    #[test]
    fn a_password_on_the_command_line_is_noticed_but_not_the_file_of_one() {
        assert!(tells_secret("h:1/m?user=jwt&password=x") && tells_secret("sasl.password=x"));
        assert!(!tells_secret("sasl.password=@/run/key") && !tells_secret("h:1/m?password="));
    }
}
