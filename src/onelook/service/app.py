"""The routes of the service, its page and its OpenAPI description. Nothing is loaded from other hosts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources
from typing import Any

from fastapi import FastAPI, Request, Response
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse

from onelook.service.answers import Answer, Health, ModelInfo, Problem
from onelook.service.refusal import Refusal
from onelook.service.request_handler import RequestHandler
from onelook.service.request_options import RequestOptions

logger = logging.getLogger(__name__)

DISCARD_SECONDS = 10.0
DISCARD_FACTOR = 4
"""Of a refused upload, at most this many times the largest file is read."""
PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/page.css": ("page.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
}
IMAGE = {"schema": {"type": "string", "format": "binary"}}
BODY = {
    "required": True,
    "description": "The bytes of a JPEG, PNG, WebP, BMP or TIFF, or a form with such a file.",
    "content": {
        "image/*": IMAGE,
        "application/octet-stream": IMAGE,
        "multipart/form-data": {
            "schema": {"type": "object", "required": ["file"], "properties": {"file": IMAGE["schema"]}}
        },
    },
}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "Malformed request"},
    408: {"model": Problem, "description": "The upload took too long"},
    413: {"model": Problem, "description": "Too many bytes or pixels"},
    422: {"model": Problem, "description": "No image, a damaged one, or an unknown field"},
    503: {"model": Problem, "description": "Too many are waiting; `Retry-After` says when to ask again"},
}


def create_app(handler: RequestHandler, model: ModelInfo) -> FastAPI:
    """The service as an ASGI application."""
    app = FastAPI(
        title="Onelook",
        version=model.version,
        description=f"Finds objects in images with the detector `{model.name}`.",
        docs_url=None,  # FastAPI's pages load scripts from other hosts
        redoc_url=None,
    )

    async def detect(request: Request) -> Response:
        """Find objects in an image, or in each of several."""
        content_type = request.headers.get("content-type", "")
        chunks = request.stream()
        try:
            handler.refuse_length(request.headers.get("content-length", ""), content_type)
            answer = await handler.answer(chunks, content_type, request.query_params.multi_items())
        except Refusal:
            if "expect" not in request.headers:  # else the client sends nothing before our answer
                await _discard(chunks, DISCARD_FACTOR * handler.limits.max_bytes)
            raise
        answers = answer if isinstance(answer, list) else [answer]
        content = ",".join(one.model_dump_json(exclude_none=True) for one in answers)
        return Response(f"[{content}]" if isinstance(answer, list) else content, media_type="application/json")

    async def health() -> Response:
        """Whether the service works, and counts of its requests."""
        state = handler.health()
        status = 200 if state.status == "ok" else 503
        return Response(state.model_dump_json(), status_code=status, media_type="application/json")

    async def about() -> ModelInfo:
        """The detector, its classes, and the limits of the service."""
        return model

    app.add_api_route(
        "/detect",
        detect,
        methods=["POST"],
        response_model=Answer | list[Answer],
        responses=REFUSALS,
        openapi_extra={"requestBody": BODY, "parameters": _parameters()},
    )
    app.add_api_route("/health", health, methods=["GET"], response_model=Health)
    app.add_api_route("/health", health, methods=["HEAD"], include_in_schema=False)
    app.add_api_route("/model", about, methods=["GET"], response_model=ModelInfo)
    for path, (name, kind) in PAGE.items():
        app.add_api_route(path, _file(name, kind), methods=["GET"], include_in_schema=False)
    app.add_exception_handler(Refusal, _refused)
    app.add_exception_handler(HTTPException, _no_such_address)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _failed)
    return app


async def _discard(chunks: AsyncIterator[bytes], max_bytes: int) -> None:
    """Read on after a refusal: a client whose connection is cut while it sends never reads the answer."""

    async def read() -> None:
        count = 0
        async for chunk in chunks:
            count += len(chunk)
            if count > max_bytes:
                return

    with contextlib.suppress(asyncio.TimeoutError, ClientDisconnect, RuntimeError):
        await asyncio.wait_for(read(), DISCARD_SECONDS)


def _parameters() -> list[dict[str, Any]]:
    """The query parameters, for the OpenAPI description."""
    properties = RequestOptions.model_json_schema()["properties"]
    return [
        {"name": name, "in": "query", "required": False, "description": schema.pop("description", ""), "schema": schema}
        for name, schema in properties.items()
    ]


def _file(name: str, kind: str) -> Callable[[], Awaitable[Response]]:
    content = (resources.files("onelook.service") / "page" / name).read_bytes()

    async def send() -> Response:
        return Response(content, media_type=kind)

    return send


async def _refused(request: Request, refusal: Exception) -> Response:
    assert isinstance(refusal, Refusal)
    headers = {} if refusal.retry_seconds is None else {"Retry-After": str(refusal.retry_seconds)}
    headers["Connection"] = "close"  # the rest of the upload is not read
    return _problem(refusal.status, refusal.message, refusal.hint, headers)


async def _no_such_address(request: Request, problem: Exception) -> Response:
    assert isinstance(problem, HTTPException)
    text = f"`{request.method} {request.url.path}`: {problem.detail.lower()}"
    return _problem(problem.status_code, text, "known are POST /detect, GET /model, GET /health, GET /openapi.json")


async def _gone(request: Request, problem: Exception) -> Response:
    return _problem(400, "the upload was interrupted")


async def _failed(request: Request, problem: Exception) -> Response:
    logger.error("a request failed", exc_info=problem)
    return _problem(500, "the service failed at this image", "its log has the reason")


def _problem(status: int, text: str, hint: str | None = None, headers: dict[str, str] | None = None) -> Response:
    return JSONResponse(Problem(error=text, hint=hint).model_dump(exclude_none=True), status, headers)
