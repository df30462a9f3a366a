"""Words of the synthetic posts: names, templates and captions of two domains.

A scene says what a post is about. Its *open* templates fit every scene, so that the text alone
cannot tell them apart; its *telling* templates and captions fit that scene only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ENTITY_TYPES = ("LOC", "MISC", "ORG", "PER")


@dataclass(frozen=True)
class PairScene:
    """Two entities and how they relate.

    Attributes:
        relation: Relation type, or `None` for two entities that do not relate.
        head: Type of entity `{a}`.
        tail: Type of entity `{b}`.
    """

    relation: str
    head: str
    tail: str


PAIR_SCENES = (
    PairScene("/per/per/couple", "PER", "PER"),
    PairScene("/per/per/peer", "PER", "PER"),
    PairScene("/per/org/member_of", "PER", "ORG"),
    PairScene("/per/loc/place_of_residence", "PER", "LOC"),
    PairScene("/per/misc/awarded", "PER", "MISC"),
    PairScene("/org/loc/locate_at", "ORG", "LOC"),
    PairScene("/misc/loc/held_on", "MISC", "LOC"),
    PairScene("None", "ORG", "MISC"),
)
RELATION_TYPES = tuple(sorted(scene.relation for scene in PAIR_SCENES if scene.relation != "None"))

# One tag a word: templates are tagged by looking their words up here.
PARTS_OF_SPEECH: Mapping[str, str] = {
    "ADJ": "amazing good happy last late lucky more new old proud quiet ready sure whole",
    "ADP": "about after as at before by during for from in into near of on over to until via with "
    "without",
    "ADV": "again always finally forever here just much never now outside so still today together "
    "tonight",
    "AUX": "are cannot is was will",
    "CCONJ": "and or",
    "DET": "a all another every no the this",
    "INTJ": "wow",
    "NOUN": "album band birthday branch brother ceremony chapter coffee colleagues contract cousin "
    "crowd cup customers daughter day drummer encore engineers everyone feed final friend "
    "ground haircut headquarters home house husband job jury kiss label lyrics manager "
    "medal memories morning mother movie neighbours news night nothing office price prize "
    "product record ring road roommate shares shuttle singer song staff stage story streets "
    "sunset talk team tent thanks tickets tour traffic trailer trophy tune valley venue "
    "village warehouse week weekend wife year",
    "NUM": "one",
    "PART": "not",
    "PRON": "her his my they us we what who you",
    "PUNCT": "! , . ?",
    "SCONJ": "if",
    "SYM": "+ x",
    "VERB": "beats believe booked built called camped cried dance dancing dreaming driving fell "
    "gets goes grabbed held hiking hired holds hosted humming joined kept kissed laughed "
    "launched lifts lives look love made married moved needs opened played plays printed "
    "proposed reading recorded sang says share signed smiles sponsors streaming stuck "
    "studied takes thinking trains wait watching won works",
}  # fmt: skip


@dataclass(frozen=True)
class Domain:
    """The language of one domain; `{a}` and `{b}` stand for names.

    Attributes:
        open_names: Names that any of the four types may bear.
        known_names: Names that one type alone bears, by type.
        open_posts: Posts about `{a}` that tell nothing of its type.
        telling_posts: Posts about `{a}` that tell its type, by type.
        asides: Endings that name a known entity `{b}`, by its type.
        open_pairs: Posts about `{a}` and `{b}` that tell nothing of them.
        telling_pairs: Posts that tell how `{a}` and `{b}` relate, by relation.
        subjects: What a caption says to show an entity type, by type.
        pair_subjects: What a caption says to show a relation, by relation.
        caption_frames: Captions around a subject `{s}`.
        empty_captions: Captions that say nothing.
    """

    open_names: tuple[str, ...]
    known_names: Mapping[str, tuple[str, ...]]
    open_posts: tuple[str, ...]
    telling_posts: Mapping[str, tuple[str, ...]]
    asides: Mapping[str, tuple[str, ...]]
    open_pairs: tuple[str, ...]
    telling_pairs: Mapping[str, tuple[str, ...]]
    subjects: Mapping[str, tuple[str, ...]]
    pair_subjects: Mapping[str, tuple[str, ...]]
    caption_frames: tuple[str, ...]
    empty_captions: tuple[str, ...]


STREET = Domain(
    open_names=(
        "Jordan", "Austin", "Chelsea", "Phoenix", "Lincoln", "Madison", "Sydney", "Florence",
        "Victoria", "Dakota", "Carson", "Orlando", "Hudson", "Savannah", "Brooklyn", "Georgia",
        "Houston", "Denver", "Camden", "Trenton", "Silver Lake", "North Star", "Blue Harbor",
        "Golden Gate", "Red Mesa", "Green Hill", "Iron Bay", "Royal Oak",
    ),
    known_names={
        "LOC": ("Lisbon", "Nairobi", "Oslo", "Kyoto", "New Delhi"),
        "MISC": ("Oscars", "Hamlet", "Iliad", "Olympics", "Star Wars"),
        "ORG": ("Nokia", "Toyota", "Unicef", "Siemens", "World Bank"),
        "PER": ("Beyonce", "Einstein", "Serena", "Mozart", "Frida Kahlo"),
    },
    open_posts=(
        "so proud of {a} today", "{a} was amazing last night", "cannot wait for {a} this weekend",
        "still thinking about {a}", "{a} never gets old", "one more day until {a}",
        "nothing beats {a} !", "we love {a} so much", "look at {a} now", "all about {a} this week",
        "dreaming of {a} again", "good morning from {a} !",
    ),
    telling_posts={
        "LOC": ("driving into {a} this morning", "the streets of {a} are quiet",
                "sunset over {a}", "stuck in traffic near {a}"),
        "MISC": ("watching the movie {a} tonight", "reading {a} before the last chapter",
                 "humming the song {a} all day", "the trailer of {a} is here"),
        "ORG": ("{a} hired new engineers", "shares of {a} fell today",
                "the office staff of {a}", "{a} launched a new product"),
        "PER": ("happy birthday to my brother {a}", "{a} called his mother",
                "{a} smiles in her new haircut", "coffee with my friend {a}"),
    },
    asides={
        "LOC": ("in {b}", "from {b}"),
        "MISC": ("during {b}", "after the {b}"),
        "ORG": ("via {b}", "thanks to {b}"),
        "PER": ("by {b}", "says {b}"),
    },
    open_pairs=(
        "{a} and {b} tonight", "{a} with {b} again", "{a} x {b} !", "just {a} and {b}",
        "what a day for {a} and {b}", "{a} + {b} this week", "still thinking about {a} and {b}",
        "look at {a} with {b}",
    ),
    telling_pairs={
        "/per/per/couple": ("{a} married {b} this weekend", "{a} kissed his wife {b}"),
        "/per/per/peer": ("{a} studied together with {b}", "{a} plays with his colleagues and {b}"),
        "/per/org/member_of": ("{a} joined {b} for a new job", "{b} signed {a} to the team"),
        "/per/loc/place_of_residence": ("{a} lives in {b} now", "a new home in {b} for {a}"),
        "/per/misc/awarded": ("{a} won the {b} medal", "the {b} prize goes to {a}"),
        "/org/loc/locate_at": ("{a} opened a branch in {b}", "in {b} is the headquarters of {a}"),
        "/misc/loc/held_on": ("the final of {a} is held in {b}", "{b} hosted the ceremony of {a}"),
        "None": ("{a} or {b} ? not sure", "news about {a} , another story about {b}"),
    },
    subjects={
        "LOC": ("a mountain", "a valley", "a beach", "a skyline"),
        "MISC": ("a trophy", "a poster", "a book", "a guitar"),
        "ORG": ("a logo", "an office", "a banner", "a factory"),
        "PER": ("a woman", "a man", "a face", "a boy"),
    },
    pair_subjects={
        "/per/per/couple": ("bride and groom", "a loving couple"),
        "/per/per/peer": ("two students", "a pair of teammates"),
        "/per/org/member_of": ("a worker in uniform", "an employee with a badge"),
        "/per/loc/place_of_residence": ("a family house", "a tenant in a kitchen"),
        "/per/misc/awarded": ("a champion with a medal", "a winner on a podium"),
        "/org/loc/locate_at": ("a company tower", "a shop entrance"),
        "/misc/loc/held_on": ("a stadium with fireworks", "a parade of flags"),
        "None": ("a blank wall", "an empty page"),
    },
    caption_frames=(
        "a photo of {s}", "{s} in the picture", "the image shows {s}",
        "a close view of {s}",
    ),
    empty_captions=(
        "a photo shared online", "a picture taken with a phone", "an image with some colors",
        "a post from the street",
    ),
)  # fmt: skip

FESTIVAL = Domain(
    open_names=(
        "Sierra", "Aurora", "Troy", "Verona", "Cairo", "Memphis", "Adelaide", "Boston", "Raleigh",
        "Chester", "Devon", "Ireland", "India", "Paris", "Lourdes", "Sahara", "Everest", "Avalon",
        "Bronte", "Logan", "Black Rock", "Wild River", "Crystal Palace", "Sun Valley", "High Tide",
        "Storm Peak", "Moon Bay", "Velvet Hall", *STREET.open_names[::2],
    ),
    known_names={
        "LOC": ("Glasgow", "Bergen", "Havana", "Tallinn", "Cape Town",
                *STREET.known_names["LOC"][:2]),
        "MISC": ("Grammys", "Macbeth", "Ulysses", "Eurovision", "Abbey Road",
                 *STREET.known_names["MISC"][:2]),
        "ORG": ("Yamaha", "Adidas", "Spotify", "Greenpeace", "Red Cross",
                *STREET.known_names["ORG"][:2]),
        "PER": ("Bowie", "Adele", "Hendrix", "Picasso", "Nina Simone",
                *STREET.known_names["PER"][:2]),
    },
    open_posts=(
        "finally {a} after a whole year", "everyone needs {a} tonight", "{a} made my weekend",
        "wow , {a} again !", "always ready for {a}", "lucky to share {a} with you",
        "no night without {a}", "{a} forever .", "my feed is all {a} today",
        "who will believe {a} was here ?", "{a} is the talk of the crowd",
        "memories of {a} kept us", *STREET.open_posts[::2],
    ),
    telling_posts={
        "LOC": ("camped in the valley near {a}", "hiking to {a} before sunset",
                "the shuttle from {a} village is late", "on the road outside {a}"),
        "MISC": ("dancing to the tune {a}", "the album {a} is streaming now",
                 "they played the song {a} as encore", "printed lyrics of {a}"),
        "ORG": ("{a} sponsors the stage", "the record label {a} signed a contract",
                "customers of {a} booked every tent", "the price of {a} tickets"),
        "PER": ("{a} cried on his birthday", "the singer {a} laughed with her daughter",
                "my cousin {a} grabbed a drummer", "{a} and his mother sang"),
    },
    asides={
        "LOC": ("near {b}", "over in {b}"),
        "MISC": ("during {b}", "before {b}"),
        "ORG": ("via {b}", "for {b}"),
        "PER": ("says {b}", "by {b}"),
    },
    open_pairs=(
        "{a} and {b} made my night", "wow , {a} with {b} !", "{a} x {b} forever",
        "finally {a} and {b} together", "memories of {a} with {b}", "lucky to share {a} and {b}",
        "{a} + {b} is the talk of the crowd", "my feed is all {a} and {b}",
        *STREET.open_pairs[::2],
    ),
    telling_pairs={
        "/per/per/couple": ("{a} proposed to {b} with a ring",
                            "a kiss from {a} for her husband {b}"),
        "/per/per/peer": ("{a} and the band of {b} recorded together",
                          "{a} trains with roommate {b}"),
        "/per/org/member_of": ("{a} works for the label {b}", "{b} hired {a} as tour manager"),
        "/per/loc/place_of_residence": ("{a} moved into a house in {b}",
                                        "in {b} the neighbours of {a} dance"),
        "/per/misc/awarded": ("{a} lifts the {b} cup", "the jury of {b} holds a trophy for {a}"),
        "/org/loc/locate_at": ("{a} built a warehouse in {b}", "near {b} is the office of {a}"),
        "/misc/loc/held_on": ("{a} takes the stage ground of {b}",
                              "{b} is the venue of {a} this year"),
        "None": ("{a} today , {b} another day", "if not {a} or {b} , who ?"),
    },
    subjects={
        "LOC": ("a mountain", "a river", "a beach", "a meadow"),
        "MISC": ("a trophy", "a record", "a guitar", "a mask"),
        "ORG": ("a logo", "a banner", "a booth", "a truck"),
        "PER": ("a woman", "a man", "a dancer", "a girl"),
    },
    pair_subjects={
        "/per/per/couple": ("a loving couple", "a pair of newlyweds"),
        "/per/per/peer": ("a pair of teammates", "two musicians"),
        "/per/org/member_of": ("a worker in uniform", "a crew with a badge"),
        "/per/loc/place_of_residence": ("a family house", "a camper with a cabin"),
        "/per/misc/awarded": ("a champion with a medal", "a star on a podium"),
        "/org/loc/locate_at": ("a shop entrance", "a company kiosk"),
        "/misc/loc/held_on": ("a stadium with fireworks", "an arena with lights"),
        "None": ("a blank wall", "an empty tent"),
    },
    caption_frames=(
        "there is {s}", "{s} at the festival", "a bright shot of {s}", "we see {s}",
    ),
    empty_captions=(
        "a shot from the festival", "a scene with many colors", "something posted last night",
        "an image from a camera",
    ),
)  # fmt: skip

DOMAINS: Mapping[str, Domain] = {"street": STREET, "festival": FESTIVAL}
