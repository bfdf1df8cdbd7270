//! The answer, written as it arrives.

use std::fs::File;
use std::io::{self, Write};

use http::{HeaderMap, StatusCode, Version};
use reqwest::Response;
use tollway_payer::Answer;

use super::PayArgs;
use crate::exit::{Doing as _, Exit, Failure};

/// Streams a response to where it is wanted.
pub(super) async fn write(mut response: Response, args: &PayArgs) -> Result<Exit, Failure> {
    let status = response.status();
    let mut out = open(args)?;
    if args.include {
        head(&mut *out, response.version(), status, response.headers())?;
    }
    while let Some(chunk) = response.chunk().await.doing(|| "the answer was cut off".to_owned())? {
        out.write_all(&chunk)?;
        out.flush()?;
    }
    out.flush()?;
    Ok(ending(status, args))
}

/// Writes an answer that has been read already.
pub(super) fn write_answer(answer: &Answer, args: &PayArgs) -> Result<(), Failure> {
    let mut out = open(args)?;
    if args.include {
        head(&mut *out, Version::HTTP_11, answer.status, &answer.headers)?;
    }
    out.write_all(&answer.body)?;
    Ok(out.flush()?)
}

fn open(args: &PayArgs) -> Result<Box<dyn Write>, Failure> {
    Ok(match &args.output {
        Some(path) => Box::new(File::create(path).doing(|| format!("--output {}", path.display()))?),
        None => Box::new(io::stdout()),
    })
}

fn head(out: &mut dyn Write, version: Version, status: StatusCode, headers: &HeaderMap) -> io::Result<()> {
    write!(out, "{version:?} {status}\r\n")?;
    for (name, value) in headers {
        write!(out, "{name}: ")?;
        out.write_all(value.as_bytes())?;
        out.write_all(b"\r\n")?;
    }
    out.write_all(b"\r\n")
}

fn ending(status: StatusCode, args: &PayArgs) -> Exit {
    let error = status.is_client_error() || status.is_server_error();
    if args.fail && error { Exit::Status } else { Exit::Ok }
}
