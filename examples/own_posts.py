"""What a trained model finds in posts of one's own, one and many.

shapca train configs/demo.yaml --out runs/demo
python examples/own_posts.py runs/demo
"""

import sys

import shapca

extractor = shapca.Extractor.load(sys.argv[1])

one = extractor.extract("Mara Lindqvist met Jonas Feld", context="a woman on a stage")
print(one.to_json())

posts = [
    shapca.Post("Mara Lindqvist is back", context="a singer with a guitar"),
    shapca.Post("Tonight at Harbour Hall"),  # no context, no picture: both may be missing
]
for post, found in zip(posts, extractor.extract_many(posts), strict=True):
    entities = [f"{entity.text} ({entity.type})" for entity in found.entities]
    print(post.text, "->", ", ".join(entities) or "nothing")
