//! The highest torrent score of every host, by label, as a picture.

use std::fmt::Write as _;

use super::{Judged, labels::Label};

const LEFT: f64 = 110.0;
const WIDTH: f64 = 640.0;
const ROW: f64 = 44.0;

/// One dot a host. Within a row dots are spread in height, so that equal scores stay apart.
pub fn svg(judged: &[Judged]) -> String {
    let height = ROW * Label::ALL.len() as f64 + 50.0;
    let total = LEFT + WIDTH + 20.0;
    let mut picture = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{total}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (row, label) in Label::ALL.into_iter().enumerate() {
        let middle = ROW * (row as f64 + 0.5) + 10.0;
        line(&mut picture, &format!("<text x=\"8\" y=\"{}\">{}</text>", middle + 4.0, label.name()));
        for (number, one) in judged.iter().filter(|one| one.label == label).enumerate() {
            let y = middle + ((number * 7) % 15) as f64 * 2.0 - 14.0;
            let x = LEFT + WIDTH * one.host.score;
            let title = format!("{} {}: {:.2}", escape(&one.file), one.host.address, one.host.score);
            line(
                &mut picture,
                &format!(
                    "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"steelblue\" fill-opacity=\"0.6\">\
                     <title>{title}</title></circle>"
                ),
            );
        }
    }
    let (alarm, bottom) = (LEFT + WIDTH * 0.5, height - 34.0);
    line(
        &mut picture,
        &format!("<path d=\"M{alarm} 8V{bottom}\" stroke=\"firebrick\" stroke-dasharray=\"4 3\"/>"),
    );
    for tenth in 0_u8..=10 {
        let x = LEFT + WIDTH * f64::from(tenth) / 10.0;
        let text = f64::from(tenth) / 10.0;
        let y = height - 18.0;
        line(&mut picture, &format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">{text:.1}</text>"));
    }
    let (x, y) = (LEFT + WIDTH / 2.0, height - 4.0);
    line(
        &mut picture,
        &format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\">highest torrent score</text>"),
    );
    picture.push_str("</svg>\n");
    picture
}

fn line(picture: &mut String, element: &str) {
    writeln!(picture, "{element}").expect("writing to a string cannot fail");
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
