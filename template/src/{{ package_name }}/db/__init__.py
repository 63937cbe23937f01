"""The database layer: what the rest of the service imports."""

from .base import Base as Base
from .base import Timestamps as Timestamps
from .session import ReadSessionDep as ReadSessionDep
from .session import SessionDep as SessionDep
from .session import StreamingSessionDep as StreamingSessionDep
from .session import get_read_session as get_read_session
from .session import get_session as get_session
from .session import get_streaming_session as get_streaming_session
from .session import run_in_transaction as run_in_transaction
from .session import transaction as transaction
