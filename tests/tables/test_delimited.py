"""Delimited text: spellings of the same table, and what is wrong with others."""

import gzip

import pytest
from reading import SMALL, assert_same, assert_told, read, write

from crossed_jax.errors import InputError


@pytest.mark.parametrize("name", ["a.tsv", "a.tab", "a.tsv.gz"])
def test_tab_separated_text(tmp_path, name):
    text = SMALL.replace(",", "\t").encode()
    content = gzip.compress(text) if name.endswith("gz") else text
    assert_same(read(write(tmp_path, content, name)), read(write(tmp_path, SMALL)))


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + SMALL,
        SMALL.replace("\n", "\r\n"),
        SMALL.rstrip("\n"),
        SMALL + "\n\n",
        SMALL.replace("B,x", "\nB,x"),
        SMALL.replace("1.5", " 1.5 "),
        SMALL.replace("A", '"A"'),
    ],
    ids=["bom", "crlf", "no last newline", "blank end", "blank middle", "spaces", "quotes"],
)
def test_spellings_of_the_same_csv(tmp_path, text):
    assert_same(read(write(tmp_path, text, "a.csv")), read(write(tmp_path, SMALL)))


def test_other_columns_are_not_looked_at(tmp_path):
    text = "gene,,junk,cell,,y\nA,1,NA,x,,1.5\nA,,,w,,2\nB,,?,x,,-3\nB,,,w,,4e-1\n"
    assert_same(read(write(tmp_path, text, "a.csv")), read(write(tmp_path, SMALL)))


def test_columns_may_come_in_any_order(tmp_path):
    text = "y,cell,gene\n1.5,x,A\n2,w,A\n-3,x,B\n4e-1,w,B\n"
    assert_same(read(write(tmp_path, text, "a.csv")), read(write(tmp_path, SMALL)))


def test_labels_stay_as_written(tmp_path):
    text = 'gene,cell,y\n007," a",1\n7,"x,\ny",2\n1e3,"x,\ny",3\n1000,é,4\n7,é,5\n'
    gene, cell = read(write(tmp_path, text)).factors
    assert gene.levels == ("007", "7", "1e3", "1000")
    assert cell.levels == (" a", "x,\ny", "é")


BAD_TEXT = {
    "empty file": ("", ["screen.csv", "is empty"]),
    "header only": ("gene,cell,y\n", ["screen.csv", "no rows"]),
    "first line empty": ("\n" + SMALL, ["screen.csv", "empty line"]),
    "missing column": ("gene,cell,z\nA,x,1\n", ["screen.csv", "no column 'y'", "'z'"]),
    "misspelt column": ("Genes,cell,y\nA,x,1\n", ["no column 'gene'", "did you mean 'Genes'?"]),
    "many columns": (
        "gene,cell," + ",".join(f"q{n}" for n in range(99)),
        ["no column 'y'", "'q7', and 91 more"],
    ),
    "duplicated header": ("gene,gene,cell,y\nA,A,x,1\n", ["2 columns called 'gene'", "rename"]),
    "semicolons": (SMALL.replace(",", ";"), ["single column, 'gene;cell;y'", "commas"]),
    "text response": (
        SMALL + "B,x,high\nB,x,low\n",
        ["screen.csv", "'y' is 'high' in row 5", "not a number"],
    ),
    "decimal comma": (SMALL + 'B,x,"1,5"\n', ["'1,5' in row 5"]),
    "hostile value": (
        SMALL + 'B,x,"\x1b[31m\nred' + "d" * 500 + '"\n',
        [r"'\x1b[31m\nred", "ddd...'", "row 5"],
    ),
    "infinite": (SMALL + "B,x,1\nA,w,-inf\n", ["'y' is infinite in row 6"]),
    "overflow": (SMALL + "B,x,1e999\n", ["'y' is infinite in row 5"]),
    "huge": (SMALL + "B,x,-1e80\n", ["'y' is -1e+80 in row 5", "rescale", "overflow"]),
    "no response": ("gene,cell,y\nA,x,\nB,w,NA\n", ["'y' is missing in every row"]),
    "empty level": (SMALL + ",x,1\n", ["factor 'gene' is missing in row 5", "fill it in"]),
    "quoted empty level": (SMALL + 'A,"",1\n', ["factor 'cell' is missing ('') in row 5"]),
    "blank level": (SMALL + "A,  ,1\n", ["factor 'cell' is missing ('  ') in row 5"]),
    "NA level": (SMALL + "NA,x,1\n,x,1\n", ["factor 'gene' is missing ('NA') in row 5"]),
    "NaN level": (SMALL + "A,x,1\nA,NaN,1\n", ["factor 'cell' is missing ('NaN') in row 6"]),
    "null level": (SMALL + "A,null,1\n", ["factor 'cell' is missing ('null') in row 5"]),
    "level missing after a blank line": (SMALL + "\nA,,1\n", ["'cell' is missing in row 5"]),
    "level missing with its response": (SMALL + "A,,\n", ["'cell' is missing in row 5"]),
    "null character": (SMALL + "A\0B,x,1\n", [r"level 'A\x00B'", "null character"]),
    "long label": (
        SMALL + "x" * 1_000_000 + ",w,1\n",
        ["factor 'gene' has a level 'xxx", "of 1,000,000 characters", "shorten"],
    ),
    "one level": ("gene,cell,y\nA,x,1\nA,w,2\nA,w,3\n", ["'gene' has a single level", "'A'"]),
    "one level left": (
        "gene,cell,y\nA,x,1\nA,w,2\nA,w,3\nB,w,\n",
        ["'gene' has a single level with a response, 'A'"],
    ),
    "every level once": (
        "gene,cell,y\nA,x,1\nB,x,2\nC,w,3\n",
        ["'gene' has as many levels as rows (3)", "add replicates"],
    ),
    "constant": ("gene,cell,y\nA,x,2\nA,w,2\nB,x,2\nB,w,2\n", ["'y' is 2 in every row"]),
    "hardly varies": (
        "gene,cell,y\nA,x,1e-80\nA,w,0\nB,x,0\nB,w,0\n",
        ["varies by only 1e-80", "rescale"],
    ),
    "short line": (SMALL + "B,x\n", ["screen.csv", "row 5 ", "fields: 2, not 3"]),
    "long line": (SMALL + "\nB,x,1,5\n" + SMALL, ["row 5 ", "fields: 4, not 3"]),
    "comma at the end": (SMALL + "B,x,1,\n", ["row 5 ", "fields: 4, not 3"]),
    "long line after quotes": ('gene,cell,y\n"A,B",x,1\nB,x,1,5\n', ["row 2 ", "fields: 4, not 3"]),
    "quote not closed": (SMALL + 'B,"x,1\nB,w,1\n', ["screen.csv", "cannot be read"]),
    "huge header": ("g" * 200_000 + ",cell,y\nA,x,1\n", ["screen.csv", "cannot be read"]),
}


@pytest.mark.parametrize(("text", "wanted"), BAD_TEXT.values(), ids=BAD_TEXT.keys())
def test_bad_text(tmp_path, text, wanted):
    path = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        read(path)
    assert_told(error, *wanted)
