//! What the plugin reads of a new user, whoever tells of one: the rest of it knows no provider.

use hookweir_sdk::prelude::*;
use serde::{Deserialize, Serialize};

/// A new user. What is set up for them is named by their id at the provider.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct User {
    pub(crate) id: String,
    pub(crate) email: String,
    pub(crate) name: String,
}

/// Clerk's event. Shape: <https://clerk.com/docs/webhooks/overview>.
#[derive(Deserialize)]
struct UserCreated {
    data: ClerkUser,
}

#[derive(Deserialize)]
struct ClerkUser {
    id: String,
    email_addresses: Vec<EmailAddress>,
    primary_email_address_id: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

#[derive(Deserialize)]
struct EmailAddress {
    id: String,
    email_address: String,
}

/// Shopify's. Shape: <https://shopify.dev/docs/api/webhooks>, topic `customers/create`.
#[derive(Deserialize)]
struct Customer {
    id: u64,
    email: Option<String>,
    first_name: Option<String>,
    last_name: Option<String>,
}

impl User {
    /// Of `user.created`.
    pub(crate) fn of_clerk(event: &Event) -> Result<Self, Failure> {
        let user = event.json::<UserCreated>()?.data;
        let is_primary =
            |address: &&EmailAddress| user.primary_email_address_id.as_ref() == Some(&address.id);
        let mut addresses = user.email_addresses.iter();
        let email = addresses.clone().find(is_primary).or_else(|| addresses.next());
        let email = email.map(|address| address.email_address.clone());
        Self::new(user.id, email, user.first_name, user.last_name)
    }

    /// Of `customers/create`.
    pub(crate) fn of_shopify(event: &Event) -> Result<Self, Failure> {
        let customer: Customer = event.json()?;
        let id = customer.id.to_string();
        Self::new(id, customer.email, customer.first_name, customer.last_name)
    }

    fn new(
        id: String,
        email: Option<String>,
        first_name: Option<String>,
        last_name: Option<String>,
    ) -> Result<Self, Failure> {
        let email = email.filter(|email| !email.is_empty());
        let email = email.ok_or("the user has no email address to write to").or_reject()?;
        let names: Vec<_> = [first_name, last_name].into_iter().flatten().collect();
        let name = if names.is_empty() { email.clone() } else { names.join(" ") };
        Ok(Self { id, email, name })
    }
}
