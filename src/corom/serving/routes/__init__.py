"""The routes, by whose shapes they speak; each function makes an APIRouter around a Service."""
