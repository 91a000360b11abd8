//! What metrics cost: the same gateway with everything counted, and with nothing counted. One more has its page
//! asked for all the time.

use crate::{
    Flags,
    cost::{COLUMNS, Line, Subject},
    figures::Section,
};

const OFF: &str = "admin.metrics = false\n";
/// With metrics it is to be as fast as without, within 3 %.
const TARGET: f64 = 0.97;

pub(crate) async fn measure(flags: &Flags) -> Vec<Section> {
    let mut sections = Vec::new();
    for line in [Line::Accepts, Line::Whole] {
        let mut subjects = [
            Subject::start("counted", line, "").await,
            Subject::start("not counted", line, OFF).await,
            Subject::start("counted, and scraped ten times a second", line, "").await.scraped(),
        ];
        // The first round warms up and is not counted.
        for round in 0..=flags.rounds {
            for subject in &mut subjects {
                subject.round(flags, round > 0).await;
            }
        }
        let mut section = Section::new("metrics", line.about().to_owned(), COLUMNS);
        let [counted, not_counted, scraped] = &subjects;
        let over = |this: &Subject| this.rate.over(&not_counted.rate);
        section.ratio("counted / not counted", over(counted), Some(TARGET));
        section.ratio("scraped / not counted", over(scraped), None);
        subjects.into_iter().for_each(|subject| subject.row(&mut section, []));
        sections.push(section);
    }
    sections
}
