//! The figures as a picture: completion time against swarm size, beside the bound.

use std::fmt::Write as _;

use super::{Figures, Links};

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 46.0;
const BOTTOM: f64 = 46.0;
/// One colour for each kind of links, in the order of [`Links::ALL`].
const COLOURS: [&str; 3] = ["#2a6f97", "#c1666b", "#5a7d4e"];

/// Where a swarm of a size, and a time, are in the picture.
struct Scale {
    /// The logarithm of the largest size.
    decades: f64,
    /// The longest time, seconds.
    top: f64,
}

impl Scale {
    fn x(&self, fetchers: f64) -> f64 {
        LEFT + (WIDTH - LEFT - RIGHT) * fetchers.log10() / self.decades
    }

    fn y(&self, seconds: f64) -> f64 {
        HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * seconds / self.top
    }
}

/// An SVG picture of all figures.
#[allow(clippy::cast_precision_loss, reason = "sizes far below 2^52")]
pub(super) fn plot(all: &[Figures]) -> String {
    let largest = all.iter().map(|figures| figures.shape.fetchers).max().unwrap_or(1).max(10);
    let slowest = all.iter().map(|figures| figures.took.max(figures.bound).as_secs_f64());
    let top = (slowest.fold(1.0, f64::max) / 10.0).ceil() * 10.0;
    let scale = Scale { decades: (largest as f64).log10(), top };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#ffffff\"/>\n"
    );
    axes(&mut svg, &scale, largest);
    for (index, (links, colour)) in Links::ALL.into_iter().zip(COLOURS).enumerate() {
        let mut mine: Vec<_> = all.iter().filter(|figures| figures.shape.links == links).collect();
        mine.sort_by_key(|figures| figures.shape.fetchers);
        if mine.is_empty() {
            continue;
        }
        let point = |figures: &Figures, seconds: f64| {
            (scale.x(figures.shape.fetchers as f64), scale.y(seconds))
        };
        let bound = mine.iter().map(|figures| point(figures, figures.bound.as_secs_f64()));
        line(&mut svg, bound, &format!("{colour}\" stroke-dasharray=\"5 4"));
        let took: Vec<_> =
            mine.iter().map(|figures| point(figures, figures.took.as_secs_f64())).collect();
        line(&mut svg, took.iter().copied(), colour);
        for (x, y) in took {
            write_to(
                &mut svg,
                format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>\n"),
            );
        }
        let y = TOP + 4.0 + 16.0 * index as f64;
        let text = format!("fetchers send as the seeder: {}", links.name());
        label(&mut svg, (LEFT + 14.0, y), "start", colour, &text);
    }
    svg.push_str("</svg>\n");
    svg
}

fn axes(svg: &mut String, scale: &Scale, largest: usize) {
    let black = "#222222";
    label(
        svg,
        (LEFT, 18.0),
        "start",
        black,
        "Seconds until the last fetcher is done; dashed: what nothing can beat",
    );
    label(svg, (WIDTH - RIGHT, HEIGHT - 10.0), "end", black, "fetchers");
    let mut seconds = 0.0;
    while seconds <= scale.top {
        let y = scale.y(seconds);
        write_to(
            svg,
            format_args!("<path d=\"M{LEFT} {y:.1}H{}\" stroke=\"#dddddd\"/>\n", WIDTH - RIGHT),
        );
        label(svg, (LEFT - 8.0, y + 4.0), "end", black, &format!("{seconds:.0}"));
        seconds += if scale.top > 50.0 { 20.0 } else { 5.0 };
    }
    let sizes = std::iter::successors(Some(1_u32), |size| size.checked_mul(10));
    for size in sizes.take_while(|size| *size as usize <= largest) {
        label(
            svg,
            (scale.x(f64::from(size)), HEIGHT - BOTTOM + 18.0),
            "middle",
            black,
            &size.to_string(),
        );
    }
}

fn line(svg: &mut String, points: impl Iterator<Item = (f64, f64)>, stroke: &str) {
    let points: Vec<_> = points.map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let points = points.join(" ");
    write_to(
        svg,
        format_args!(
            "<polyline points=\"{points}\" fill=\"none\" stroke-width=\"2\" stroke=\"{stroke}\"/>\n"
        ),
    );
}

fn label(svg: &mut String, (x, y): (f64, f64), anchor: &str, colour: &str, text: &str) {
    write_to(
        svg,
        format_args!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{colour}\">{text}</text>\n"
        ),
    );
}

fn write_to(svg: &mut String, what: std::fmt::Arguments<'_>) {
    svg.write_fmt(what).expect("a string takes everything");
}
