"""What all measured routes take and return; without SQLAlchemy, for the baseline."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class UserIn(BaseModel):
    """A new user."""

    email: str
    name: str


class UserOut(BaseModel):
    """A user as the database has it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    name: str
    is_active: bool
    created_at: datetime
    updated_at: datetime


class PostOut(BaseModel):
    """A post as the database has it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    public_id: UUID
    title: str
    body: str
    slug: str
    status: str
    view_count: int
    extra: dict[str, Any] | None
    author_id: int
    created_at: datetime
    updated_at: datetime


class PostWithAuthor(PostOut):
    """A post, and who wrote it."""

    author: UserOut
