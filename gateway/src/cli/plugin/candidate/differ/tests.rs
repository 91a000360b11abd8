//! What differs, and what does not.

use std::time::Duration;

use hookweir_event::Outcome;
use serde_json::json;

use super::*;

fn done() -> Did {
    Did {
        outcome: Outcome::Done,
        message: None,
        retry_after: None,
        outputs: Vec::new(),
        state: BTreeMap::new(),
        requests: Vec::new(),
        unasked: Vec::new(),
        logs: Vec::new(),
    }
}

fn made(kind: &str, body: &[u8]) -> Made {
    Made { kind: kind.to_owned(), body: body.to_vec(), ..Made::default() }
}

fn with_outputs(outputs: &[(&str, &str)]) -> Did {
    let outputs = outputs.iter().map(|(kind, body)| made(kind, body.as_bytes())).collect();
    Did { outputs, ..done() }
}

fn place(at: &str, old: &str, new: &str) -> Place {
    let side = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    Place { at: at.to_owned(), old: side(old), new: side(new) }
}

/// The places in which the only thing differs that does.
fn places(live: &Did, candidate: &Did) -> Vec<Place> {
    match &differences(live, candidate, true)[..] {
        [Difference { what: What::Places { places, more: 0 }, .. }] => places.clone(),
        other => panic!("{other:#?}"),
    }
}

#[test]
fn json_differs_in_places_and_other_text_as_a_whole() {
    let old = with_outputs(&[("paid", r#"{"a":{"b/c":[1,2]},"same":true,"gone":null}"#)]);
    let new = with_outputs(&[("paid", r#"{"a":{"b/c":[1,"2",3]},"same":true,"more":{}}"#)]);
    let found = [
        place("/a/b~1c/1", "2", "\"2\""),
        place("/a/b~1c/2", "", "3"),
        place("/gone", "null", ""),
        place("/more", "", "{}"),
    ];
    assert_eq!(places(&old, &new), found);
    let [old, new] = ["text", "{\"a\":1}"].map(|body| with_outputs(&[("paid", body)]));
    assert_eq!(places(&old, &new), [place("", "text", "{\"a\":1}")]);
    // The receiver sees other bytes, though they mean the same.
    let spelt = with_outputs(&[("paid", "{\"a\": 1}")]);
    assert_eq!(places(&new, &spelt), [place("", "{\"a\":1}", "{\"a\": 1}")]);
}

#[test]
fn outputs_are_paired_by_type_and_their_order_counts() {
    let old = with_outputs(&[("a", "1"), ("b", "x"), ("a", "2")]);
    assert_eq!(differences(&old, &old, true), []);
    let fewer = with_outputs(&[("a", "1"), ("b", "x")]);
    let gone = |what| Difference { kind: Kind::Output, of: "a".to_owned(), what };
    assert_eq!(differences(&old, &fewer, true), [gone(What::Gone("2".to_owned()))]);
    assert_eq!(differences(&fewer, &old, true), [gone(What::New("2".to_owned()))]);
    let moved = with_outputs(&[("b", "x"), ("a", "1"), ("a", "2")]);
    assert_eq!(places(&old, &moved), [place("order", "a, b, a", "b, a, a")]);
    let mut headed = fewer.clone();
    headed.outputs[1].headers.push(("x".to_owned(), b"1".to_vec()));
    headed.outputs[1].attributes.push(("y".to_owned(), "2".to_owned()));
    assert_eq!(
        places(&fewer, &headed),
        [place("attribute y", "", "2"), place("header x", "", "1")]
    );
}

#[test]
fn an_outcome_is_its_word_its_message_and_its_wait() {
    let retry = |message: &str, after| Did {
        outcome: Outcome::Retry,
        message: Some(message.to_owned()),
        retry_after: after,
        ..done()
    };
    let plain = retry("down", None);
    assert_eq!(places(&done(), &plain), [place("", "done", "retry: down")]);
    assert_eq!(places(&plain, &retry("gone", None)), [place("", "retry: down", "retry: gone")]);
    let later = retry("down", Some(Duration::from_secs(7)));
    assert_eq!(places(&plain, &later), [place("", "retry: down", "retry: down (after 7s)")]);
}

#[test]
fn state_differs_by_key_in_value_and_in_how_long_it_lasts() {
    let wrote = |entries: &[(&str, Wrote)]| {
        let entries = entries.iter().map(|(key, wrote)| ((*key).to_owned(), wrote.clone()));
        Did { state: entries.collect(), ..done() }
    };
    let set = |value: &str, lasts| Wrote::Set(value.as_bytes().to_vec(), lasts);
    let hour = Lasts::For(Duration::from_secs(3600));
    let old = wrote(&[("a", set("{\"n\":1}", Lasts::ForEver)), ("b", Wrote::Deleted)]);
    let new = wrote(&[("a", set("{\"n\":2}", hour)), ("b", Wrote::Deleted)]);
    assert_eq!(places(&old, &new), [place("/n", "1", "2"), place("lasts", "for ever", "3600s")]);
    let kept = wrote(&[("a", set("{\"n\":1}", Lasts::ForEver))]);
    let gone = What::Gone("deleted".to_owned());
    assert_eq!(
        differences(&old, &kept, true),
        [Difference { kind: Kind::State, of: "b".to_owned(), what: gone }]
    );
    let overwritten = wrote(&[("a", set("{\"n\":1}", Lasts::ForEver)), ("b", set("x", hour))]);
    assert_eq!(places(&old, &overwritten), [place("", "deleted", "x")]);
}

fn sends(line: &str, shown: &str, (by, recall): (Answerer, Recall)) -> Did {
    let (line, made, answer) = (line.to_owned(), made(shown, b""), String::new());
    Did { requests: vec![Asked { line, made, by, recall, answer }], ..done() }
}

#[test]
fn what_nobody_answers_is_a_difference_also_where_both_sent_it() {
    let line = "GET https://a.test/";
    for recall in [Recall::NoRecord, Recall::Unknown, Recall::Partial] {
        let alone = sends(line, line, (Answerer::Nobody, recall));
        let found = differences(&alone, &alone, true);
        assert!(
            matches!(&found[..], [Difference { what: What::Unanswered(_), of, .. }] if of == line),
            "{found:#?}"
        );
        for by in [Answerer::Answers, Answerer::Grant] {
            let answered = sends(line, line, (by, recall));
            assert_eq!(differences(&alone, &answered, true), [], "{by:?}");
        }
    }
}

#[test]
fn requests_are_told_apart_by_what_is_not_shown_of_them() {
    let asked = |line: &str, shown: &str| sends(line, shown, (Answerer::Record, Recall::Answered));
    let shown = "GET https://a.test/?q=[redacted]";
    let old = asked("GET https://a.test/?q=1", shown);
    assert_eq!(differences(&old, &old, true), []);
    let new = asked("GET https://a.test/?q=2", shown);
    assert_eq!(places(&old, &new), [place("query", "[not shown]", "[not shown]")]);
    let other = asked("GET https://b.test/", "GET https://b.test/");
    let kinds: Vec<_> = differences(&old, &other, true).iter().map(|one| one.kind).collect();
    assert_eq!(kinds, [Kind::Request, Kind::Request]);
}

#[test]
fn a_log_counts_only_if_it_is_to() {
    let log = |lines: &[&str]| Did {
        logs: lines.iter().map(|line| (*line).to_owned()).collect(),
        ..done()
    };
    let (old, new) = (log(&["info a", "info b"]), log(&["info a", "info c"]));
    assert_eq!(differences(&old, &new, false), []);
    assert_eq!(differences(&old, &new, true).len(), 2);
    let moved = log(&["info b", "info a"]);
    assert_eq!(places(&old, &moved), [place("order", "info a, info b", "info b, info a")]);
}

#[test]
fn of_much_the_beginning_is_told_and_the_rest_counted() {
    let numbers = |from: usize| json!((from..from + 30).collect::<Vec<_>>()).to_string();
    let (old, new) = (numbers(0), numbers(100));
    let found = differences(&with_outputs(&[("a", &old)]), &with_outputs(&[("a", &new)]), true);
    let [Difference { what: What::Places { places, more }, .. }] = &found[..] else {
        panic!("{found:#?}")
    };
    assert_eq!((places.len(), *more), (PLACES_MAX, 10));
}
