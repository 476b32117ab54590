"""From figures to alerts: each fires once and is resolved once, however many schedulers look."""

from sqlalchemy import select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from api import ids
from api.alerts import figures, notices
from api.alerts.figures import Figure
from api.alerts.models import Alert, Rule
from api.clock import now

# Any constant will do: whoever finds it taken has nothing to do.
ADVISORY_LOCK = 5_325_381


def evaluate(session: Session) -> int:
    """Compare every rule with the present; how many alerts fired or were resolved."""
    if not session.scalar(text(f"SELECT pg_try_advisory_xact_lock({ADVISORY_LOCK})")):
        return 0
    rules = session.scalars(select(Rule).order_by(Rule.id)).all()
    return sum(_compare(session, rule) for rule in rules)


def _compare(session: Session, rule: Rule) -> int:
    breached = {one.subject: one for one in figures.of_rule(session, rule) if one.breached}
    open_alerts = session.scalars(
        select(Alert).where(Alert.rule_id == rule.id, Alert.resolved_at.is_(None))
    ).all()
    changes = 0
    for alert in open_alerts:
        if figure := breached.pop(alert.subject, None):
            alert.value, alert.summary = figure.value, figure.sentence
        else:
            changes += _resolve(session, rule, alert)
    changes += sum(_fire(session, rule, figure) for figure in breached.values())
    session.flush()
    _tell(session, rule)
    return changes


def _fire(session: Session, rule: Rule, figure: Figure) -> bool:
    made = session.execute(
        insert(Alert)
        .values(
            id=ids.hex32(),
            account_id=rule.account_id,
            rule_id=rule.id,
            subject=figure.subject,
            subject_name=figure.name,
            value=figure.value,
            summary=figure.sentence,
            told=False,
            fired_at=now(),
        )
        .on_conflict_do_nothing(
            index_elements=["rule_id", "subject"], index_where=Alert.resolved_at.is_(None)
        )
        .returning(Alert.id)
    )
    return made.first() is not None


def _resolve(session: Session, rule: Rule, alert: Alert) -> bool:
    """Whoever was told that it fires is told that it does no more, muted or not."""
    done = session.execute(
        update(Alert)
        .where(Alert.id == alert.id, Alert.resolved_at.is_(None))
        .values(resolved_at=now())
        .returning(Alert.told)
    ).first()
    if done is None:
        return False
    session.refresh(alert)
    if done.told:
        notices.tell(session, rule, alert, "resolved")
    return True


def _tell(session: Session, rule: Rule) -> None:
    """Of what fires and nobody was told of; after a muted time, too."""
    if rule.muted_until and rule.muted_until > now():
        return
    untold = session.scalars(
        update(Alert)
        .where(Alert.rule_id == rule.id, Alert.resolved_at.is_(None), Alert.told.is_(False))
        .values(told=True)
        .returning(Alert)
    ).all()
    for alert in untold:
        notices.tell(session, rule, alert, "firing")
