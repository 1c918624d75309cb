"""The study behind docs/study.md: every number, table and figure in it comes from here.

python -m studies             # all of it, into docs/; an interrupted run goes on where it stopped
python -m studies --quick     # minutes, tiny, into results/study-quick: to see that everything runs
python -m studies --only weights
python -m studies --render    # the document alone, from the records as they are
"""
