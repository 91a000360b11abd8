//! Lists of what the config names: short ones, in the order of their names.

use serde::Deserialize;
use utoipa::IntoParams;

use super::{asked::Limit, reply::Page};

/// How much of a list is asked for.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Listed {
    /// The `next` of the page before.
    cursor: Option<String>,
    /// How many at most.
    #[serde(default)]
    #[param(value_type = Option<usize>, minimum = 1, maximum = 1000, default = 1000)]
    limit: Limit<1000>,
}

impl Listed {
    /// The page of what has these names, which are in order. Its cursor is the last name on it, so that
    /// what comes and goes meanwhile moves nothing.
    pub(super) fn page<'n, T, U>(
        &self,
        named: impl Iterator<Item = (&'n str, T)>,
        show: impl Fn(T) -> U,
    ) -> Page<U> {
        let after = |name: &str| self.cursor.as_deref().is_none_or(|cursor| name > cursor);
        let mut rest = named.filter(|(name, _)| after(name)).peekable();
        let mut page = Page { items: Vec::new(), next: None };
        let mut last = None;
        while let Some((name, thing)) = rest.next_if(|_| page.items.len() < self.limit.0) {
            page.items.push(show(thing));
            last = Some(name);
        }
        page.next = rest.peek().and(last).map(str::to_owned);
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_end_where_the_list_does() {
        let names = ["a", "b", "c", "d"];
        let page = |cursor: Option<&str>, limit| {
            let asked = Listed { cursor: cursor.map(str::to_owned), limit: Limit(limit) };
            let page = asked.page(names.iter().map(|name| (*name, name)), |name| *name);
            (page.items, page.next)
        };
        assert_eq!(page(None, 4), (vec!["a", "b", "c", "d"], None));
        assert_eq!(page(None, 3), (vec!["a", "b", "c"], Some("c".into())));
        assert_eq!(page(Some("c"), 3), (vec!["d"], None));
        // One that is gone.
        assert_eq!(page(Some("bb"), 1), (vec!["c"], Some("c".into())));
        assert_eq!(page(Some("z"), 1), (vec![], None));
    }
}
