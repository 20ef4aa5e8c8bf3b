//! `plan`.
use super::arguments::PlanArguments;
use super::asked;
use anyhow::Result;
pub(super) fn answer(wanted: &PlanArguments) -> Result<String> {
    let _ = crate::search::plan(&asked::plan_question(wanted)?)?;
    Ok(String::new())
}
