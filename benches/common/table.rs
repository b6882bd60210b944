//! A table for people, or for a Markdown file.

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Align {
    Left,
    Right,
}

pub struct Table {
    title: &'static str,
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new(title: &'static str, columns: &[(&'static str, Align)]) -> Self {
        Self { title, columns: columns.to_vec(), rows: Vec::new() }
    }

    pub fn row(&mut self, cells: &[String]) {
        assert!(cells.len() == self.columns.len());
        self.rows.push(cells.to_vec());
    }

    pub fn print(&self, markdown: bool) {
        let head: Vec<String> = self.columns.iter().map(|c| c.0.to_owned()).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|i| {
                let cells = self.rows.iter().chain([&head]).map(|r| r[i].chars().count());
                cells.max().unwrap_or(0)
            })
            .collect();
        let line = |cells: &[String]| {
            let padded = cells.iter().zip(&widths).zip(&self.columns).map(|((c, w), (_, a))| {
                if *a == Align::Left {
                    format!("{c:<w$}")
                } else {
                    format!("{c:>w$}")
                }
            });
            let joined = padded.collect::<Vec<_>>().join(if markdown { " | " } else { "  " });
            if markdown {
                println!("| {joined} |");
            } else {
                println!("  {}", joined.trim_end());
            }
        };
        println!("{}{}\n", if markdown { "### " } else { "" }, self.title);
        line(&head);
        if markdown {
            let rules = self.columns.iter().map(|(_, a)| match a {
                Align::Left => "---",
                Align::Right => "--:",
            });
            println!("| {} |", rules.collect::<Vec<_>>().join(" | "));
        }
        self.rows.iter().for_each(|r| line(r));
    }
}
