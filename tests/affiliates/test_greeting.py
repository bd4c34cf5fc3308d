"""The first name of a greeting: titles are left out, and the whole name stands where a first name would be a guess."""

from __future__ import annotations

import pytest

from portal.affiliates.greeting import split_name

ONE_NAME = ["Ada", "Ng", "O’Neill", "Madonna", "Dr", "Mr.", "Prof. Dr.", "", "Dr. J. Doe", "Ms Lovelace"]
GUESSES = [
    "Mr Smith",
    "Mister Smith",
    "Tante Emma Laden",
    "Ustad Bismillah Khan",
    "Frau Müller",
    "Herr Dr. Müller",
    "Sr. García",
    "г-н Иванов",
    "Md Rahim",
    "Md. Rahim Uddin",
    "Mohd Faisal",
    "The Tea Shop",
    "Der Teeladen",
    "La Boutique",
    "Acme GmbH & Co. KG",
    "Studio 54",
    "Deals24",
    "Sarah – Travel Blog",
    "Sarah - Travel",
    "Brightleaf Media",
    "Ada and Grace",
    "Ada und Grace Hopper",
    "von Neumann",
    "Abdul Rahman",
    "Abu Bakr",
    "J. Tolkien",
    "J.R.R. Tolkien",
    "Lovelace, Ada",
    "García Márquez, Gabriel",
    "X Æ",
    "山田 太郎",
    "김 민준",
    "DJ Ada",
    "Lady Ada",
    "Ing Lovelace",
    "Fru Jensen",
    "Maître Dupont",
    "Smith Mr",
    "Hotel Adlon",
    "Travel With Ada",
    "Mr.Smith",
]


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("Grace Hopper", "Grace", "Hopper"),
        ("  Grace   Hopper ", "Grace", "Hopper"),
        ("Dr Jane", "Jane", ""),
        ("Dr. Jane", "Jane", ""),
        ("Dr Jane Doe", "Jane", "Doe"),
        ("DR. JANE DOE", "JANE", "DOE"),
        ("Prof Ada", "Ada", ""),
        ("Prof. Dr. Ada Lovelace", "Ada", "Lovelace"),
        ("Prof. Dr. med. Ada Lovelace", "Ada", "Lovelace"),
        ("Dr. h. c. Ada Lovelace", "Ada", "Lovelace"),
        ("Mr John Smith", "John", "Smith"),
        ("Mrs. Grace Hopper", "Grace", "Hopper"),
        ("Herr Dr. Max Mustermann", "Max", "Mustermann"),
        ("Dipl.-Ing. Eva Huber", "Eva", "Huber"),
        ("Mag. Eva Huber", "Eva", "Huber"),
        ("MUDr. Jana Nováková", "Jana", "Nováková"),
        ("Dott.ssa Maria Rossi", "Maria", "Rossi"),
        ("Sir Charles Babbage", "Charles", "Babbage"),
        ("Jane Doe, PhD", "Jane", "Doe"),
        ("Dr.Jane Doe", "Jane", "Doe"),
        ("Prof.Dr.Jane Doe", "Jane", "Doe"),
        ("PD Dr. Jane Doe", "Jane", "Doe"),
        ("Associate Professor Jane Doe", "Jane", "Doe"),
        ("Dr.-Ing. Jane Doe", "Jane", "Doe"),
        ("Ada King de Lovelace", "Ada", "King de Lovelace"),
        ("أحمد بن محمد", "أحمد", "بن محمد"),
        ("الدكتور أحمد محمد", "أحمد", "محمد"),
        ("ד״ר דנה לוי", "דנה", "לוי"),
        ("Анна Каренина", "Анна", "Каренина"),
        ("Anne-Marie Slaughter", "Anne-Marie", "Slaughter"),
        *((name, " ".join(name.split()), "") for name in (*ONE_NAME, *GUESSES)),
    ],
)
def test_titles_are_left_out_and_nothing_is_guessed(name, first, last):
    assert split_name(name) == (first, last)
