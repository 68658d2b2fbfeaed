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

#[test]
fn one_that_is_ten_times_slower_hardly_delays_the_others() {
    for seed in 2..12 {
        let of = |links| Shape { links, fetchers: 8, pieces: 128 };
        let alike = or_panic(measure(seed, of(Links::Switched)));
        let figures = or_panic(measure(seed, of(Links::OneSlow)));
        println!("{alike}\n{figures}");
        assert!(figures.copies < 1.25, "{figures}");
        assert!(
            figures.ratio() < alike.ratio() + 0.2,
            "without a slow one {alike}\nwith {figures}"
        );
    }
}
