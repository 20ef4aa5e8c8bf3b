//! The options of a class that can matter: those that no other beats, and the lower convex hull of
//! these.
//!
//! ```text
//! cost │ o               o  on the hull: a move from each to the next saves the most per weight
//!      │   o   .         .  beaten: another is neither heavier nor dearer
//!      │     x           x  neither: of use to the closing search only
//!      │        o     o
//!      └──────────────────── weight
//! ```

use super::Item;

/// An option that no other of its class beats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub cost: f64,
    pub weight: f64,
    /// Its place among the class's options.
    pub option: usize,
}

/// From a corner of a class's hull to the next heavier and cheaper one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Move {
    pub class: usize,
    /// Places among the class's choices.
    pub from: usize,
    pub to: usize,
    /// How much cheaper; above zero.
    pub saving: f64,
    /// How much heavier; above zero.
    pub weight: f64,
    /// Saving per weight; finite, as numbers are between 1e-80 and 1e80.
    pub slope: f64,
}

/// The options of at most `heaviest` that no other beats: weights rise, costs fall.
pub(super) fn choices(items: &[Item], heaviest: f64) -> Vec<Choice> {
    let mut all: Vec<Choice> = Vec::with_capacity(items.len());
    for (option, &Item { cost, weight }) in items.iter().enumerate() {
        if weight <= heaviest {
            all.push(Choice {
                cost,
                weight,
                option,
            });
        }
    }
    // Stable: of equal options the first stays.
    all.sort_by(|a, b| {
        a.weight
            .total_cmp(&b.weight)
            .then(a.cost.total_cmp(&b.cost))
    });
    let mut cheapest = f64::INFINITY;
    all.retain(|choice| {
        let beats = choice.cost < cheapest;
        cheapest = cheapest.min(choice.cost);
        beats
    });
    all
}

/// The moves along the hull of a class's choices, appended to `moves`; their slopes fall.
pub(super) fn append_moves(class: usize, choices: &[Choice], moves: &mut Vec<Move>) {
    let first = moves.len();
    for to in 1..choices.len() {
        let mut from = to - 1;
        while let Some(last) = moves[first..].last() {
            if last.slope > between(class, choices, from, to).slope {
                break;
            }
            from = last.from;
            moves.pop();
        }
        moves.push(between(class, choices, from, to));
    }
}

fn between(class: usize, choices: &[Choice], from: usize, to: usize) -> Move {
    let saving = choices[from].cost - choices[to].cost;
    let weight = choices[to].weight - choices[from].weight;
    Move {
        class,
        from,
        to,
        saving,
        weight,
        slope: saving / weight,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(list: &[(f64, f64)]) -> Vec<Item> {
        let item = |&(weight, cost): &(f64, f64)| Item { cost, weight };
        list.iter().map(item).collect()
    }

    /// Of the picture above: (2,5) and (4,2) stay, (3,4.9) is off the hull, (5,2) costs no less,
    /// (0,9) is dearer than its equal (0,8), and 7 is too heavy.
    #[test]
    fn beaten_and_heavy_options_go_and_the_hull_is_convex() {
        let items = items(&[
            (4.0, 2.0),
            (0.0, 9.0),
            (0.0, 8.0),
            (3.0, 4.9),
            (2.0, 5.0),
            (5.0, 2.0),
            (7.0, 0.0),
        ]);
        let choices = choices(&items, 6.0);
        let kept: Vec<usize> = choices.iter().map(|choice| choice.option).collect();
        assert_eq!(kept, [2, 4, 3, 0]);
        let mut moves = Vec::new();
        append_moves(0, &choices, &mut moves);
        let slopes: Vec<f64> = moves.iter().map(|m| m.slope).collect();
        // (8 - 5) / 2, (5 - 2) / 2: one line, so one move from (0,8) to (4,2).
        assert_eq!(slopes, [1.5]);
        assert_eq!((moves[0].from, moves[0].to), (0, 3));
    }

    #[test]
    fn of_equal_options_the_first_stays() {
        let choices = choices(&items(&[(1.0, 1.0), (1.0, 1.0)]), 1.0);
        assert_eq!(choices.len(), 1);
        assert_eq!(choices[0].option, 0);
    }
}
