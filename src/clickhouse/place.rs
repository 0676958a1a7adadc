//! Where a backup lies: the grammar of `backup_path`, which places are allowed, and the URL that
//! ClickHouse is given. Pure. Never holds a key.

use std::fmt;

use super::name::Name;

/// Before the name of a collection, where an URL would be.
const COLLECTION: &str = "collection://";
/// Longest path, bytes: an object's name may have 1024, and ours is only its beginning.
const LONGEST: usize = 900;

/// Why a path is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Neither s3:// nor an URL.
    #[error("a path begins with s3://, https:// or, where it is allowed, http://")]
    Scheme,
    /// No host or bucket.
    #[error("a path names a bucket: s3://bucket/key")]
    Bucket,
    /// Not a bucket's name.
    #[error("a bucket has 3 to 63 lower-case letters, digits, dots and dashes")]
    BucketName,
    /// Nothing after the bucket.
    #[error("a path has a key after the bucket")]
    NoKey,
    /// A letter that a URL, a glob or a shell would read in another way.
    #[error("a path has letters, digits and -_.~/=@:, only")]
    Letter,
    /// `..`, `.` or an empty part.
    #[error("a path has no empty part, no '.' and no '..'")]
    Part,
    /// Longer than 900 bytes.
    #[error("a path has at most {LONGEST} bytes")]
    TooLong,
    /// An archive: ClickHouse refuses these on S3.
    #[error("a path does not end with .zip, .zipx or .tar: ClickHouse cannot write archives to S3")]
    Archive,
    /// Plain http where it is not allowed.
    #[error("http:// is not allowed here; allow it with --allowHttp")]
    Http,
    /// Outside of what is allowed.
    #[error("this path is outside of those that are allowed")]
    NotAllowed,
}

/// Where object stores are, and which places may be used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// The store behind s3:// where that is not AWS: scheme, host and port.
    pub endpoint: Option<String>,
    /// Whether plain http may be used.
    pub allow_http: bool,
    /// Beginnings of allowed paths; every path where there are none.
    pub allowed: Vec<String>,
    /// Named collections of the server, for tasks that bring no keys.
    pub collections: Vec<Collection>,
}

/// A named collection of the server: an URL and keys that only the server knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// Its name.
    pub name: Name,
    /// The beginning of paths that its URL stands for.
    pub beginning: String,
}

impl Collection {
    /// Reads `NAME=s3://bucket/key`.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, beginning) = text.split_once('=')?;
        let name = Name::parse(name.trim()).ok()?;
        let beginning = beginning.trim().trim_end_matches('/').to_owned();
        let fits = beginning.contains("://") && !name.as_str().contains('/');
        fits.then_some(Self { name, beginning })
    }
}

/// How ClickHouse is told of a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location<'a> {
    /// By its URL.
    Url(&'a str),
    /// By a named collection, and what comes behind the collection's own URL.
    Collection {
        /// The collection.
        name: Name,
        /// The rest of the path.
        rest: &'a str,
    },
}

/// A checked place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    path: String,
    url: String,
}

impl Place {
    /// Checks a path and finds its URL: `s3://bucket/key` goes to the endpoint that is set, in path
    /// style, else to AWS as ClickHouse finds it.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn parse(path: &str, places: &Places) -> Result<Self, PlaceError> {
        let place = Self::checked(path, places)?;
        match place.url.starts_with("http://") && !places.allow_http {
            true => Err(PlaceError::Http),
            false => Ok(place),
        }
    }

    /// The same for a task without keys: the first named collection that has the path is used.
    ///
    /// # Errors
    /// [`PlaceError`].
    pub fn without_keys(path: &str, places: &Places) -> Result<Self, PlaceError> {
        let place = Self::checked(path, places)?;
        let rest = |collection: &Collection| {
            let rest = place.path.strip_prefix(&collection.beginning)?.strip_prefix('/')?;
            Some(format!("{COLLECTION}{}/{rest}", collection.name))
        };
        match places.collections.iter().find_map(rest) {
            Some(url) => Ok(Self { url, ..place }),
            None => Self::parse(path, places),
        }
    }

    fn checked(path: &str, places: &Places) -> Result<Self, PlaceError> {
        if path.len() > LONGEST {
            return Err(PlaceError::TooLong);
        }
        let path = path.trim_end_matches('/');
        let (scheme, rest) = path.split_once("://").ok_or(PlaceError::Scheme)?;
        let letter = |c: char| c.is_ascii_alphanumeric() || "-_.~/=@:,".contains(c);
        if !rest.chars().all(letter) {
            return Err(PlaceError::Letter);
        }
        let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
        let url = match scheme {
            "s3" => {
                check_bucket(host)?;
                match &places.endpoint {
                    Some(endpoint) => format!("{}/{rest}", endpoint.trim_end_matches('/')),
                    None => path.to_owned(),
                }
            }
            "https" | "http" => {
                // With user@host the text would hide another host.
                if host.is_empty() || host.contains(['@', ',', '=']) {
                    return Err(PlaceError::Bucket);
                }
                path.to_owned()
            }
            _ => return Err(PlaceError::Scheme),
        };
        check_key(key)?;
        let within = |allowed: &String| is_within(path, allowed.trim_end_matches('/'));
        if !places.allowed.is_empty() && !places.allowed.iter().any(within) {
            return Err(PlaceError::NotAllowed);
        }
        Ok(Self { path: path.to_owned(), url })
    }

    /// A place that was checked before.
    pub fn known(path: &str, url: &str) -> Self {
        Self { path: path.to_owned(), url: url.to_owned() }
    }

    /// As the user wrote it, without a trailing slash.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// As ClickHouse is told; `collection://NAME/REST` where a named collection has it.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// How ClickHouse is told of it.
    pub fn location(&self) -> Location<'_> {
        let named = self.url.strip_prefix(COLLECTION).and_then(|named| named.split_once('/'));
        match named {
            Some((name, rest)) => Location::Collection { name: Name::known(name), rest },
            None => Location::Url(&self.url),
        }
    }

    /// As system.backups shows it, without keys.
    pub fn shown(&self) -> String {
        match self.location() {
            Location::Url(url) => url.to_owned(),
            Location::Collection { name, rest } => format!("S3({name}, '{rest}')"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

/// Whether `path` is `allowed` or lies below it; `s3://a/bc` does not lie below `s3://a/b`.
fn is_within(path: &str, allowed: &str) -> bool {
    let rest = path.strip_prefix(allowed);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Amazon's rule, and ClickHouse's: shorter names are refused in path style.
fn check_bucket(bucket: &str) -> Result<(), PlaceError> {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '-');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    match bucket {
        "" => Err(PlaceError::Bucket),
        name if (3..=63).contains(&name.len())
            && name.chars().all(letter)
            && ends(name.chars().next())
            && ends(name.chars().last())
            && !name.contains("..") =>
        {
            Ok(())
        }
        _ => Err(PlaceError::BucketName),
    }
}

fn check_key(key: &str) -> Result<(), PlaceError> {
    if key.is_empty() {
        return Err(PlaceError::NoKey);
    }
    if key.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(PlaceError::Part);
    }
    let key = key.to_ascii_lowercase();
    if [".zip", ".zipx", ".tar", ".tgz"].iter().any(|end| key.ends_with(end))
        || key.contains(".tar.")
    {
        return Err(PlaceError::Archive);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local() -> Places {
        Places {
            endpoint: Some("http://127.0.0.1:9000/".into()),
            allow_http: true,
            ..Places::default()
        }
    }

    #[test]
    fn s3_goes_to_the_endpoint_that_is_set() {
        let place = Place::parse("s3://my-bucket/backups/q1/", &local()).expect("a place");
        assert_eq!(place.path(), "s3://my-bucket/backups/q1");
        assert_eq!(place.url(), "http://127.0.0.1:9000/my-bucket/backups/q1");
        let aws = Place::parse("s3://my-bucket/backups/q1", &Places::default()).expect("a place");
        assert_eq!(aws.url(), "s3://my-bucket/backups/q1");
        let store = Place::parse("https://store:9000/b/k", &Places::default()).expect("a place");
        assert_eq!(store.url(), "https://store:9000/b/k");
    }

    #[test]
    fn places_that_are_not_taken_say_why() {
        let cases = [
            ("my-bucket/q", PlaceError::Scheme),
            ("file:///etc/passwd", PlaceError::Scheme),
            ("s3:///q", PlaceError::Bucket),
            ("s3://my-bucket", PlaceError::NoKey),
            ("s3://my-bucket/", PlaceError::NoKey),
            ("s3://bk/q", PlaceError::BucketName),
            ("s3://My-bucket/q", PlaceError::BucketName),
            ("s3://my-bucket/../q", PlaceError::Part),
            ("s3://my-bucket//q", PlaceError::Part),
            ("s3://my-bucket/a?x=1", PlaceError::Letter),
            ("s3://my-bucket/a#b", PlaceError::Letter),
            ("s3://my-bucket/a'b", PlaceError::Letter),
            ("s3://my-bucket/a*", PlaceError::Letter),
            ("s3://my-bucket/{a,b}", PlaceError::Letter),
            ("s3://my-bucket/a%2f", PlaceError::Letter),
            ("s3://my-bucket/q.ZIP", PlaceError::Archive),
            ("s3://my-bucket/q.tar.gz", PlaceError::Archive),
            ("https://user@host/b/k", PlaceError::Bucket),
        ];
        for (path, error) in cases {
            assert_eq!(Place::parse(path, &local()), Err(error), "{path}");
        }
        let plain = Place::parse("http://store/b/k", &Places::default());
        assert_eq!(plain, Err(PlaceError::Http));
        let long = format!("s3://my-bucket/{}", "k".repeat(LONGEST));
        assert_eq!(Place::parse(&long, &local()), Err(PlaceError::TooLong));
    }

    #[test]
    fn only_allowed_places_are_taken() {
        let places = Places { allowed: vec!["s3://my-bucket/backups/".into()], ..local() };
        assert!(Place::parse("s3://my-bucket/backups/q1", &places).is_ok());
        for path in ["s3://my-bucket/backups2/q1", "s3://my-bucket/q", "s3://other/backups/q"] {
            assert_eq!(Place::parse(path, &places), Err(PlaceError::NotAllowed), "{path}");
        }
    }

    #[test]
    fn an_endpoint_is_allowed_like_a_path() {
        let places = Places { allowed: vec!["https://store:9000/".into()], ..local() };
        assert!(Place::parse("https://store:9000/b/k", &places).is_ok());
        for path in ["https://store:9001/b/k", "https://store:9000.evil/b/k", "s3://my-bucket/k"] {
            assert_eq!(Place::parse(path, &places), Err(PlaceError::NotAllowed), "{path}");
        }
    }

    #[test]
    fn a_task_without_keys_uses_the_collection_that_has_its_path() {
        let collection = Collection::parse("kept=s3://my-bucket/kept/").expect("a collection");
        let places = Places { collections: vec![collection], ..Places::default() };
        let place = Place::without_keys("s3://my-bucket/kept/q/1", &places).expect("a place");
        assert_eq!(place.path(), "s3://my-bucket/kept/q/1");
        assert_eq!(
            Place::known(place.path(), place.url()).location(),
            Location::Collection { name: Name::known("kept"), rest: "q/1" }
        );
        assert_eq!(place.shown(), "S3(kept, 'q/1')");
        let path = "s3://my-bucket/kept2/q";
        let other = Place::without_keys(path, &places).expect("a place");
        assert_eq!((other.location(), other.shown()), (Location::Url(path), path.to_owned()));
        let keys = Place::parse("s3://my-bucket/kept/q/1", &places).expect("a place");
        assert_eq!(keys.location(), Location::Url("s3://my-bucket/kept/q/1"));
        assert!(Place::without_keys("s3://my-bucket/kept/../q", &places).is_err());
        for text in ["kept", "=s3://b/k", "kept=b/k", "system=s3://b/k", "a/b=s3://b/k"] {
            assert_eq!(Collection::parse(text), None, "{text}");
        }
    }
}
