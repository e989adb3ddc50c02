//! References to secrets, each with the key that is read from it by default.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

/// A secret and the key of it that is read.
pub trait SecretKey {
    /// The secret's name.
    fn secret(&self) -> &str;
    /// The key.
    fn key(&self) -> &str;
}

macro_rules! secret_ref {
    ($(#[$doc:meta])* $name:ident, $key:literal) => {
        $(#[$doc])*
        #[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// The secret's name, in the same namespace.
            #[schemars(length(min = 1, max = 253))]
            pub name: String,
            /// The key of the secret that is read.
            #[schemars(length(min = 1, max = 253))]
            #[serde(default = "default_key::key")]
            pub key: String,
        }

        impl SecretKey for $name {
            fn secret(&self) -> &str {
                &self.name
            }
            fn key(&self) -> &str {
                &self.key
            }
        }
    };
}

/// Each reference in a module of its own, for its default to have a name.
macro_rules! secret_refs {
    ($($module:ident: $(#[$doc:meta])* $name:ident, $key:literal;)*) => {
        $(
            mod $module {
                use super::*;
                mod default_key {
                    pub(super) fn key() -> String {
                        $key.into()
                    }
                }
                secret_ref!($(#[$doc])* $name, $key);
            }
            pub use $module::$name;
        )*
    };
}

secret_refs! {
    token: /** A secret with a token (JWT). */ TokenSecretRef, "token";
    oauth2: /** A secret with the JSON of OAuth 2.0 client credentials. */ OAuth2SecretRef, "credentials.json";
    ca: /** A secret with the PEM of certificate authorities. */ CaSecretRef, "ca.crt";
    google: /** A secret with the JSON key of a Google service account. */ GoogleKeySecretRef, "credentials.json";
    account: /** A secret with the access key of an Azure account. */ AccountKeySecretRef, "accessKey";
    url: /** A secret with a URL that holds a password. */ UrlSecretRef, "url";
    viewers: /** A secret with a YAML list of viewers' tokens. */ ViewerTokensSecretRef, "tokens.yaml";
    signing: /** A secret with the key that links are signed with. */ SigningKeySecretRef, "key";
}

/// A secret with the two parts of an S3 credential.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct S3SecretRef {
    /// The secret's name, in the same namespace.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key of the secret that holds the access key's id.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default = "access_key_id")]
    pub access_key_id_key: String,
    /// The key of the secret that holds the secret access key.
    #[schemars(length(min = 1, max = 253))]
    #[serde(default = "secret_access_key")]
    pub secret_access_key_key: String,
}

fn access_key_id() -> String {
    "accessKeyId".into()
}

fn secret_access_key() -> String {
    "secretAccessKey".into()
}
