"""What one writes without the engine: the same duties in FastAPI and scikit-learn.

Per request: the token's signature is checked, Redis counts against a limit, one of two versions is
drawn by weight, the model runs, the answer is logged to MongoDB. It is meant to be as fast as such a
service gets: uvloop and httptools, one worker per core, orjson, no access log, models loaded once and
run without scikit-learn's input checks (pydantic checks the input), Redis in one round trip, and
records collected in memory and written in batches after the answer. (So a kill loses records here.)

Environment: PUBLIC_KEY (PEM file), REDIS, MONGO (URLs), REMEMBER_TOKENS (not empty: a signature is
checked once per token and worker, as the engine does it).
"""

import asyncio
import os
import random
import time
import uuid
from contextlib import asynccontextmanager
from functools import lru_cache
from pathlib import Path
from typing import Annotated

import jwt
import numpy
import orjson
import redis.asyncio
import sklearn
from fastapi import Depends, FastAPI, Header, HTTPException, Request, Response
from pydantic import BaseModel, Field
from pymongo import AsyncMongoClient
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

LIMIT = 1_000_000_000  # per user and minute: counted, and never reached
BATCH = 500
WEIGHTS = {"1": 90, "2": 10}
PUBLIC_KEY = Path(os.environ["PUBLIC_KEY"]).read_text()
VERSIONS, SHARES = list(WEIGHTS), list(WEIGHTS.values())

sklearn.set_config(assume_finite=True, skip_parameter_validation=True)
iris = load_iris()
LABELS = iris.target_names.tolist()
MODELS = {
    version: make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(
        iris.data, iris.target
    )
    for version, strength in (("1", 1.0), ("2", 0.5))
}


class Question(BaseModel):
    features: Annotated[list[float], Field(min_length=4, max_length=4)]


async def write(queue, log):
    """Writes what is there, up to a batch, as often as there is something."""
    while True:
        batch = [await queue.get()]
        while len(batch) < BATCH and not queue.empty():
            batch.append(queue.get_nowait())
        await log.insert_many(batch, ordered=False)
        for _ in batch:
            queue.task_done()


@asynccontextmanager
async def lifespan(app):
    app.state.redis = redis.asyncio.from_url(os.environ["REDIS"])
    mongo = AsyncMongoClient(os.environ["MONGO"])
    app.state.queue = asyncio.Queue(100_000)
    log = mongo.get_default_database("comparison")["predictions"]
    writer = asyncio.create_task(write(app.state.queue, log))
    yield
    await app.state.queue.join()
    writer.cancel()
    await mongo.close()
    await app.state.redis.aclose()


app = FastAPI(lifespan=lifespan)


def checked(token):
    return jwt.decode(token, PUBLIC_KEY, algorithms=["EdDSA"], issuer="comparison")


if os.environ.get("REMEMBER_TOKENS"):
    checked = lru_cache(10_000)(checked)


async def user(authorization: Annotated[str, Header()]):
    try:
        claims = checked(authorization.removeprefix("Bearer "))
    except jwt.InvalidTokenError as error:
        raise HTTPException(401, "the token is not valid") from error
    if claims["role"] not in ("client", "engineer", "admin"):
        raise HTTPException(403, "the role may not predict")
    return claims["sub"]


async def within_limit(request: Request, user: Annotated[str, Depends(user)]):
    key = f"limit:{user}:{int(time.time()) // 60}"
    async with request.app.state.redis.pipeline(transaction=False) as pipeline:
        count, _ = await pipeline.incr(key).expire(key, 120).execute()
    if count > LIMIT:
        raise HTTPException(429, "too many requests")
    return user


@app.get("/health")
async def health():
    return {}


@app.post("/predict")
async def predict(question: Question, request: Request, user: Annotated[str, Depends(within_limit)]):
    begun = time.perf_counter()
    [version] = random.choices(VERSIONS, SHARES)
    row = numpy.array([question.features])
    [probabilities] = MODELS[version].predict_proba(row).tolist()
    best = max(range(len(probabilities)), key=probabilities.__getitem__)
    answer = {
        "prediction_id": str(uuid.uuid4()),
        "model": "iris",
        "model_version": version,
        "prediction": best,
        "label": LABELS[best],
        "confidence": probabilities[best],
        "probabilities": dict(zip(LABELS, probabilities)),
    }
    record = {
        "_id": answer["prediction_id"],
        "at": time.time(),
        "user": user,
        "version": version,
        "weights": WEIGHTS,
        "input": question.features,
        "answer": answer,
        "duration_s": time.perf_counter() - begun,
    }
    await request.app.state.queue.put(record)
    return Response(orjson.dumps(answer), media_type="application/json")
