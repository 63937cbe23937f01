"""Request and response models of all measured routes, independent of SQLAlchemy."""

from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict


class UserIn(BaseModel):
    """A new user."""

    email: str
    name: str


class UserOut(BaseModel):
    """A user as it is stored."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    email: str
    name: str
    is_active: bool
    created_at: datetime
    updated_at: datetime


class PostOut(BaseModel):
    """A post as it is stored."""

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
    """A post with its author."""

    author: UserOut
