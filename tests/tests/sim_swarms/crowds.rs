//! Many at once, and how close the last of them comes to the bound. `cargo sim --swarms N` measures more.

use tests::swarms::{Links, Shape, measure};

use crate::rig::or_panic;

#[test]
fn ten_fetchers_share_what_one_seeder_sends() {
    // So few pieces are far from a fluid; any change of timing draws another result.
    for (links, most) in Links::ALL.into_iter().zip([1.2, 1.27, 1.2]) {
        let figures = or_panic(measure(1, Shape { links, fetchers: 10, pieces: 60 }));
        println!("{figures}");
        assert!(figures.ratio() < most, "{figures}");
        assert!(figures.waste < 0.02, "{figures}");
        if links == Links::Equal {
            assert!(figures.first_copies < 1.15 && figures.copies < 1.3, "{figures}");
        }
    }
}

/// In one of 40 swarms the last fetcher waits for the slow one all the same: it has begun to send the last
/// piece, and no further copy of it may be asked for. So this is of the usual one, not of each.
#[test]
fn one_that_is_ten_times_slower_hardly_delays_the_others() {
    let mut delays: Vec<f64> = (2..11)
        .map(|seed| {
            let of = |links| Shape { links, fetchers: 8, pieces: 128 };
            let alike = or_panic(measure(seed, of(Links::Switched)));
            let figures = or_panic(measure(seed, of(Links::OneSlow)));
            println!("{alike}\n{figures}");
            assert!(figures.copies < 1.25, "{figures}");
            figures.ratio() - alike.ratio()
        })
        .collect();
    delays.sort_by(f64::total_cmp);
    assert!(delays[delays.len() / 2] < 0.1, "{delays:?}");
    assert!(delays[delays.len() - 2] < 0.2, "only one of nine may be so unlucky: {delays:?}");
}
