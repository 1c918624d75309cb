"""The study behind docs/study.md: every number, table and figure in it comes from here.

python -m scripts.study             # all of it, into docs/; an interrupted run goes on where it stopped
python -m scripts.study --quick     # minutes, tiny, into results/study-quick: to see that everything runs
python -m scripts.study --only weights
python -m scripts.study --render    # the document alone, from the records as they are
"""
