"""Random histories of people: an account always has an owner and a contact in it, and no role comes from a lower one."""

from __future__ import annotations

from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from portal.accounts.models import Account, Membership, Owner, TeamInvitation
from portal.accounts.registration import create_owner
from portal.accounts.team import accepting, invitations, members
from portal.accounts.team.rights import Role, is_lower
from portal.accounts.tokens import InvalidLink
from portal.clock import utcnow
from portal.db import db
from portal.rate_limit import RateLimitCounter
from tests.accounts.people import person
from tests.conftest import PASSWORD

PEOPLE = 4
EXPECTED = (
    members.NotAllowed,
    members.NoMember,
    members.LastOwner,
    invitations.CannotInvite,
    accepting.OtherMailbox,
    InvalidLink,
)
OPERATIONS = ("invite", "accept", "role", "remove", "leave", "offer", "contact", "withdraw")
_numbers = count(1)


class History:
    """One account and four people, of whom the first registered it."""

    def __init__(self) -> None:
        number, now = next(_numbers), utcnow()
        self.ids, self.links, self.givers = [], [], {}
        for each in range(PEOPLE):
            mailbox = f"p{number}.{each}@x.example"
            made = create_owner(f"Programme {number} {each}", f"Person {each}", mailbox, PASSWORD, now=now)
            self.ids.append(made.id)
            self.account_id = self.account_id if each else made.account_id
            db.session.commit()

    def user(self, which):
        found = db.session.get_one(Owner, self.ids[which])
        one = person(found.id, self.account_id)
        return type(one)(**{**vars(one), "mailbox": found.mailbox, "name": found.name})

    def roles(self):
        query = select(Membership.owner_id, Membership.role).where(Membership.account_id == self.account_id)
        found = dict(db.session.execute(query).all())
        db.session.commit()
        return found

    def run(self, operation, actor, target, role):
        user, to, now = self.user(actor), self.ids[target], utcnow()
        mailbox = self.user(target).mailbox
        db.session.commit()
        if operation == "invite":
            invitations.invite(user, mailbox, role, link=self.keep, now=now)
        elif operation == "offer":
            invitations.offer_ownership(user, to, link=self.keep, now=now)
        elif operation == "accept" and self.links:
            accepting.accept(self.links[target % len(self.links)], user, now=now)
        elif operation == "role":
            members.change_role(user, to, role, now=now)
        elif operation == "remove":
            members.remove(user, to, now=now)
        elif operation == "leave":
            members.leave(user, now=now)
        elif operation == "contact":
            members.choose_contact(user, to)
        elif operation == "withdraw":
            newest = select(TeamInvitation.id).where(TeamInvitation.account_id == self.account_id)
            id_ = db.session.scalar(newest.order_by(TeamInvitation.id.desc()).limit(1)) or 0
            db.session.commit()
            invitations.withdraw(user, id_, now=now)

    def keep(self, token):
        self.links.append(token)
        return f"https://portal.example/{token}"


def giver_of(history, operation, actor, before):
    """Return the role of the person whom a new role comes from: the actor, or the sender of the accepted invitation."""
    if operation != "accept":
        return before.get(history.ids[actor])
    query = select(TeamInvitation.inviter_id).where(TeamInvitation.account_id == history.account_id)
    used = db.session.scalars(
        query.where(TeamInvitation.used_at.is_not(None)).order_by(TeamInvitation.used_at.desc())
    )
    giver = used.first()
    db.session.commit()
    return before.get(giver)


step = st.tuples(
    st.sampled_from(OPERATIONS),
    st.integers(0, PEOPLE - 1),
    st.integers(0, PEOPLE - 1),
    st.sampled_from(list(Role)),
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(step, min_size=8, max_size=40))
def test_no_history_leaves_an_account_without_an_owner_or_raises_a_role_above_its_givers(app, steps):
    history = History()
    for operation, actor, target, role in steps:
        before = history.roles()
        try:
            history.run(operation, actor, target, role)
        except EXPECTED:
            assert history.roles() == before, operation
        after = history.roles()
        assert Role.OWNER in after.values(), (operation, before, after)
        assert db.session.get_one(Account, history.account_id).contact_id in after, (operation, before, after)
        for owner_id, now_is in after.items():
            was = before.get(owner_id)
            if was is None or is_lower(was, now_is):
                giver = giver_of(history, operation, actor, before)
                assert giver is not None and not is_lower(giver, now_is), (operation, before, after)
        db.session.execute(delete(RateLimitCounter))
        db.session.commit()
