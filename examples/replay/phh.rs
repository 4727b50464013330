//! Reads poker hands in the PHH format: TOML with the blinds, the stacks before and after, and every action.

use anyhow::{Context as _, bail, ensure};
use rejoin::UserId;
use serde::Deserialize;
use serde_json::{Value, json};

/// One thing that happens. Seats count from 0, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A player gets its two cards.
    Hole {
        /// Whose they are.
        seat: usize,
        /// The two.
        cards: [String; 2],
    },
    /// Cards come on the board.
    Board(Vec<String>),
    /// A player folds.
    Fold(usize),
    /// A player checks, or calls when there is something to call.
    CheckCall(usize),
    /// A player bets or raises.
    Raise {
        /// Which.
        seat: usize,
        /// Its whole bet on this street afterwards.
        to: u64,
    },
    /// A player shows its cards.
    Show(usize),
    /// A player gives up its cards unseen.
    Muck(usize),
}

/// One hand.
#[derive(Clone, Debug)]
pub struct Hand {
    /// The players' ids in the order of the table: the names in the file, or `p1`, `p2`, … where a name is no id.
    pub players: Vec<String>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// The stacks after the hand, in the order of the table.
    pub finishing_stacks: Vec<u64>,
    starting_stacks: Vec<u64>,
    blinds: Vec<u64>,
    ante: u64,
    min_bet: u64,
}

#[derive(Deserialize)]
struct File {
    variant: String,
    antes: Vec<u64>,
    blinds_or_straddles: Vec<u64>,
    min_bet: u64,
    starting_stacks: Vec<u64>,
    finishing_stacks: Vec<u64>,
    actions: Vec<String>,
    #[serde(default)]
    players: Vec<String>,
}

impl Hand {
    /// Reads a `.phh` file's text. Error: it is not a no-limit hold'em hand with known cards and equal antes.
    pub fn parse(text: &str) -> anyhow::Result<Self> {
        let file: File = toml::from_str(text)?;
        ensure!(file.variant == "NT", "the variant is {}, not no-limit Texas hold'em (NT)", file.variant);
        let count = file.starting_stacks.len();
        ensure!(file.finishing_stacks.len() == count, "the stacks before and after are of different players");
        let ante = file.antes.first().copied().unwrap_or(0);
        ensure!(file.antes.iter().all(|a| *a == ante), "the antes differ");
        let mut blinds = file.blinds_or_straddles;
        while blinds.last() == Some(&0) {
            blinds.pop();
        }
        let steps = file
            .actions
            .iter()
            .map(|action| step(action, count).with_context(|| format!("the action {action:?} is not understood")));
        Ok(Self {
            players: ids(&file.players, count),
            steps: steps.collect::<anyhow::Result<_>>()?,
            finishing_stacks: file.finishing_stacks,
            starting_stacks: file.starting_stacks,
            blinds,
            ante,
            min_bet: file.min_bet,
        })
    }

    /// What makes the table that this hand is played at. The first player of a file is left of the button.
    pub fn setup(&self) -> Value {
        let players: Vec<Value> = self
            .players
            .iter()
            .zip(&self.starting_stacks)
            .map(|(id, stack)| json!({ "id": id, "stack": stack }))
            .collect();
        let button = self.players.len().saturating_sub(1);
        let (blinds, ante, min_bet) = (&self.blinds, self.ante, self.min_bet);
        json!({ "players": players, "blinds": blinds, "ante": ante, "minBet": min_bet, "button": button })
    }
}

fn ids(names: &[String], count: usize) -> Vec<String> {
    let mut distinct = names.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    if distinct.len() == count && names.len() == count && names.iter().all(|name| UserId::new(name).is_ok()) {
        return names.to_vec();
    }
    (1..=count).map(|number| format!("p{number}")).collect()
}

fn step(action: &str, count: usize) -> anyhow::Result<Step> {
    // A commentary may follow the action.
    let words: Vec<&str> = action.split_whitespace().take_while(|word| *word != "#").collect();
    Ok(match words.as_slice() {
        ["d", "dh", player, cards] => {
            let cards = <[String; 2]>::try_from(split_cards(cards)?).ok().context("hole cards are two")?;
            Step::Hole { seat: seat(player, count)?, cards }
        }
        ["d", "db", cards] => Step::Board(split_cards(cards)?),
        [player, "f"] => Step::Fold(seat(player, count)?),
        [player, "cc"] => Step::CheckCall(seat(player, count)?),
        [player, "cbr", to] => Step::Raise { seat: seat(player, count)?, to: to.parse()? },
        [player, "sm"] => Step::Muck(seat(player, count)?),
        [player, "sm", _cards] => Step::Show(seat(player, count)?),
        _ => bail!("no such action"),
    })
}

fn seat(player: &str, count: usize) -> anyhow::Result<usize> {
    let number: usize = player.strip_prefix('p').context("a player is p1, p2, …")?.parse()?;
    ensure!((1..=count).contains(&number), "no such player");
    Ok(number - 1)
}

fn split_cards(text: &str) -> anyhow::Result<Vec<String>> {
    let characters: Vec<char> = text.chars().collect();
    let cards: Vec<String> = characters.chunks(2).map(|card| card.iter().collect()).collect();
    let known = |card: &String| card.len() == 2 && !card.contains('?');
    ensure!(cards.iter().all(known), "the cards are not known");
    Ok(cards)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap fails the test")]

    use super::*;

    const HEAD: &str = "variant = 'NT'\nantes = [0, 0, 0]\nblinds_or_straddles = [50, 100, 0]\nmin_bet = 100\n\
        starting_stacks = [1000, 900, 800]\nfinishing_stacks = [950, 950, 800]\n";

    fn with_actions(actions: &str) -> anyhow::Result<Hand> {
        Hand::parse(&format!("{HEAD}actions = [{actions}]\n"))
    }

    #[test]
    fn every_kind_of_action_is_read() {
        let hand = with_actions(
            "'d dh p1 TcQc', 'd db 7d5h9d', 'p3 f', 'p1 cc', 'p2 cbr 210 # a raise', 'p1 sm TcQc', 'p2 sm'",
        )
        .unwrap();
        let expected = [
            Step::Hole { seat: 0, cards: ["Tc".to_owned(), "Qc".to_owned()] },
            Step::Board(vec!["7d".to_owned(), "5h".to_owned(), "9d".to_owned()]),
            Step::Fold(2),
            Step::CheckCall(0),
            Step::Raise { seat: 1, to: 210 },
            Step::Show(0),
            Step::Muck(1),
        ];
        assert_eq!(hand.steps, expected);
        assert_eq!(hand.players, ["p1", "p2", "p3"]);
        let setup = hand.setup();
        assert_eq!((&setup["blinds"], &setup["button"]), (&json!([50, 100]), &json!(2)));
        assert_eq!(setup["players"][1], json!({ "id": "p2", "stack": 900 }));
    }

    #[test]
    fn what_cannot_be_replayed_is_refused() {
        for actions in ["'d dh p1 ????'", "'p9 f'", "'p0 f'", "'p1 xx'", "'d dh p1 Tc'", "'p1 cbr much'", "''"] {
            assert!(with_actions(actions).is_err(), "{actions}");
        }
        let other = format!("{HEAD}actions = []").replace("'NT'", "'FT'");
        assert!(Hand::parse(&other).is_err(), "fixed limit");
        let uneven = format!("{HEAD}actions = []").replace("antes = [0, 0, 0]", "antes = [0, 100, 0]");
        assert!(Hand::parse(&uneven).is_err(), "uneven antes");
    }

    #[test]
    fn names_are_ids_only_when_all_are_valid_and_distinct() {
        let names = |names: &str| Hand::parse(&format!("{HEAD}actions = []\nplayers = {names}")).unwrap().players;
        assert_eq!(names("['Ann', 'Bo', 'Cy']"), ["Ann", "Bo", "Cy"]);
        assert_eq!(names("['Ann', 'Bo Bo', 'Cy']"), ["p1", "p2", "p3"]);
        assert_eq!(names("['Ann', 'Ann', 'Cy']"), ["p1", "p2", "p3"]);
    }
}
