from stylecore.cli import run

run()
