"""The forms of the break room; they check what a browser sends, the templates draw them."""

from __future__ import annotations

from django import forms

from breakroom import store


class NameForm(forms.Form):
    """Every form asks for a name."""

    name = forms.CharField(max_length=40)


class PointsForm(NameForm):
    """Points for the leaderboard."""

    points = forms.IntegerField(min_value=1, max_value=100)


class VoteForm(NameForm):
    """A vote for one of the choices."""

    choice = forms.ChoiceField(choices=[(choice, choice) for choice in store.CHOICES])


class PostForm(NameForm):
    """A post for the feed."""

    text = forms.CharField(max_length=200)
