//! `sign-url`: a link that opens a client's or one device's streams for a while.

use super::serve::signer;
use super::{CommandError, say};
use crate::cli::SignUrlArgs;
use crate::config::Config;
use crate::http::auth::signed::Scope;
use crate::http::playback::address;
use crate::model::{ClientId, Clock, DeviceKey, SystemClock};

/// Prints the link.
///
/// # Errors
/// A key that is not there or too short, ids that cannot be any, a duration that is none.
pub fn run(config: &Config, args: &SignUrlArgs) -> Result<(), CommandError> {
    let key = config.serve.signing_key.as_ref().ok_or_else(|| {
        CommandError::new(
            "SERVE_SIGNING_KEY or SERVE_SIGNING_KEY_FILE has to be the same as for serve",
        )
    })?;
    let signer = signer(key)?;
    let until = SystemClock.now().plus(args.lasts);
    let client = ClientId::new(&args.client)
        .map_err(|e| CommandError::because(format!("{:?} is no client", args.client), e))?;
    let (scope, path) = match &args.device {
        Some(device) => {
            let key = DeviceKey::new(&args.client, device)
                .map_err(|e| CommandError::because(format!("{device:?} is no device"), e))?;
            let path = address::playlist_url(&key);
            (Scope::Device(key), path)
        }
        None => {
            let path = address::client_url(&client);
            (Scope::Client(client), path)
        }
    };
    say(&format!("{}{}{path}", args.base_url.trim_end_matches('/'), signer.prefix(&scope, until)));
    Ok(())
}
