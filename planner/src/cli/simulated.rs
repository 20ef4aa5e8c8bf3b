//! `simulate`.
use super::arguments::SimulateArguments;
use super::asked;
use anyhow::Result;
pub(super) fn answer(wanted: &SimulateArguments) -> Result<String> {
    let _ = crate::search::evaluate(
        &asked::question(&wanted.question, crate::search::Filter::default())?,
        &wanted.plan.parse()?,
    )?;
    Ok(String::new())
}
